"""Encoder-decoders of two pretrained halves: old and new weights, sharing, mistakes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.model.pretrained import load_halves
from runwright.task.sequence_to_sequence import SequenceToSequence
from runwright.tokenizer.trained import stand_in

OPTIONS: dict[str, Any] = {
    "shared": False, "dtype": "float64", "dropout": 0.0, "attention": "auto",
}  # fmt: skip


@pytest.fixture
def save_half(tokenizer: PreTrainedTokenizerFast, make_small: Callable[..., Any], tmp_path: Path) -> Any:
    """A small checkpoint with a tokenizer beside it: gpt2 has one of few tokens, the others BERT's."""

    def save(architecture: str) -> str:
        own = (
            stand_in({"family": "gpt2", "extra_tokens": ["a", "b"]}) if architecture == "gpt2" else tokenizer
        )
        folder = tmp_path / architecture
        make_small(architecture, tokenizer=own, dtype="float64").base_model.save_pretrained(folder)
        own.save_pretrained(folder)
        return str(folder)

    return save


def make_task(tokenizer: Any, target_tokenizer: str | None = None) -> SequenceToSequence:
    return SequenceToSequence(
        tokenizer, source_column="source", target_column="target", prefix="", max_length=10,
        max_target_length=6, source_language=None, target_language=None, forced_first_token=None,
        label_smoothing=0.0, target_tokenizer=target_tokenizer,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Version v4.12.0")
@pytest.mark.parametrize("names", [("bert", "gpt2"), ("bert", "bert"), ("roberta", "roberta")])
def test_all_but_the_cross_attention_comes_from_the_halves(
    names: tuple[str, str], save_half: Any, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, decoder = map(save_half, names)
    task = make_task(tokenizer, None if names[0] == names[1] else decoder)
    with caplog.at_level(logging.INFO, logger="runwright.model"):
        model: Any = load_halves(task.head, tokenizer, name=encoder, decoder=decoder, **OPTIONS)
    new = [record.getMessage() for record in caplog.records if record.getMessage().startswith("new: ")]
    assert "crossattention" in new[1]
    state = model.state_dict()
    for half, folder in (("encoder.", encoder), ("decoder.", decoder)):
        saved = load_file(Path(folder) / "model.safetensors")
        whole = {name: tensor for name, tensor in state.items() if name.startswith(half)}
        names_in = [name for name in saved if half == "encoder." or "pooler" not in name]
        ours = {name: next(t for key, t in whole.items() if key.endswith(f".{name}")) for name in names_in}
        assert all(torch.equal(tensor, saved[name]) for name, tensor in ours.items())
    rows = {"row_id": [1, 2], "source": ["a film", "the plot of a film"], "labels": [["a b a"], ["b"]]}
    batch = task.collate(task.encode(rows))
    loss = task.loss(task.forward(model, batch), batch)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    assert loss.total.item() / loss.count == pytest.approx(model(**inputs).loss.item(), rel=1e-10)
    ends = [ids["target_ids"][-1] for ids in task.encode(rows)]
    assert ends == [model.config.eos_token_id] * 2


@pytest.mark.filterwarnings("ignore:Version v4.12.0")
def test_shared_halves_stay_one_through_a_step_and_are_saved_whole(
    save_half: Any, tokenizer: Any, tmp_path: Path
) -> None:
    name, task = save_half("roberta"), make_task(tokenizer)
    options: Any = OPTIONS | {"shared": True}
    model: Any = load_halves(task.head, tokenizer, name=name, decoder=name, **options)
    alone: Any = load_halves(task.head, tokenizer, name=name, decoder=name, **OPTIONS)
    assert sum(p.numel() for p in model.parameters()) < 0.6 * sum(p.numel() for p in alone.parameters())
    batch = task.collate(task.encode({"row_id": [1], "source": ["a film"], "labels": [["a plot"]]}))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    task.forward(model, batch).sum().backward()
    optimizer.step()
    one = model.encoder.encoder.layer[0].output.dense.weight
    assert one is model.decoder.roberta.encoder.layer[0].output.dense.weight
    model.save_pretrained(tmp_path / "best")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "best", dtype="auto")
    inputs = {"input_ids": batch["input_ids"], "labels": batch["labels"]}
    model.eval()
    assert torch.equal(model(**inputs).logits, again(**inputs).logits)


def test_halves_are_no_model_of_classes(save_half: Any, tokenizer: Any) -> None:
    head = replace(make_task(tokenizer).head, auto_class="AutoModelForSequenceClassification")
    with pytest.raises(ConfigError, match="EncoderDecoderModel writes texts; choose another model"):
        load_halves(head, tokenizer, name=(name := save_half("bert")), decoder=name, **OPTIONS)


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (("bert", "llama"), "model.decoder: 'llama' cannot be one; take bert, roberta or gpt2"),
        (("t5", "bert"), "model.name: 't5' cannot be one; take bert or roberta"),
    ],
)
def test_halves_that_fit_nowhere_are_refused(
    names: tuple[str, str], refused: str, save_half: Any, tokenizer: Any
) -> None:
    encoder, decoder = map(save_half, names)
    with pytest.raises(ConfigError, match=refused):
        load_halves(make_task(tokenizer).head, tokenizer, name=encoder, decoder=decoder, **OPTIONS)
