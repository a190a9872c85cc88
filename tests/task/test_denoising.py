"""Denoising: source and target hold the whole text, masks follow the seed, losses are the model's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.model.scratch import build
from runwright.task.sequence_to_sequence import Denoising
from runwright.tokenizer.trained import stand_in

SENTINELS = [f"<extra_id_{index}>" for index in range(20)]
WORDS = ["a", "b", "c", "d"]


def words_of(family: str, *tokens: str) -> PreTrainedTokenizerFast:
    tokenizer = stand_in({"family": family, "extra_tokens": [*tokens, *WORDS]})
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    return tokenizer


T5, BART = words_of("t5", *SENTINELS), words_of("roberta")
MANY = words_of("t5", *(f"<extra_id_{index}>" for index in range(40)))
SIZES: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "d_ff": 16},
    "bart": {
        "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    },
}  # fmt: skip


def make(tokenizer: PreTrainedTokenizerFast, **options: Any) -> Denoising:
    defaults: dict[str, Any] = {
        "text_column": "text", "max_length": 40, "join_rows": False, "objective": "spans",
        "mask_probability": 0.3, "mean_span_length": 2.0,
    }  # fmt: skip
    return Denoising(tokenizer, **defaults | options)


def rows(*lengths: int) -> dict[str, list[Any]]:
    texts = [" ".join(WORDS[(3 * i + length) % 4] for i in range(length)) for length in lengths]
    return {"text": texts, "row_id": list(range(len(texts)))}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 39), st.floats(0, 1), st.floats(0.5, 6), st.integers(0, 9))
def test_a_text_is_its_source_with_the_spans_of_the_target(
    length: int, probability: float, mean: float, epoch: int
) -> None:
    task = make(tokenizer := MANY, mask_probability=probability, mean_span_length=mean)
    (example,) = task.encode(rows(length))
    (noisy,) = task.augment([example], seed=1, epoch=epoch)
    sentinels = set(tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(40)]))
    assert (noisy["input_ids"][-1], noisy["target_ids"][-1]) == (tokenizer.eos_token_id,) * 2
    spans: dict[int, list[int]] = {}
    for token in noisy["target_ids"][:-1]:
        if token in sentinels:
            spans[token] = []
        else:
            spans[list(spans)[-1]].append(token)
    whole = [t for token in noisy["input_ids"][:-1] for t in spans.get(token, [token])]
    assert whole == example["input_ids"]
    wanted = min(max(1, round(probability * length)), max(1, length - 1))
    assert sum(map(len, spans.values())) == wanted
    assert all(spans.values())
    assert [*spans] == tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(len(spans))])
    assert max(len(noisy["input_ids"]), len(noisy["target_ids"])) <= 40


def test_infilling_puts_one_mask_for_a_span_and_wants_the_whole_text() -> None:
    task = make(BART, objective="infilling")
    examples = task.encode(rows(*[30] * 200))
    noisy = task.augment(examples, seed=1, epoch=0)
    begin, end, mask = BART.bos_token_id, BART.eos_token_id, BART.mask_token_id
    num_masks = sum(example["input_ids"].count(mask) for example in noisy)
    for example, clean in zip(noisy, examples, strict=True):
        assert example["target_ids"] == [begin, *clean["input_ids"], end]
        stayed = [token for token in example["input_ids"][1:-1] if token != mask]
        rest = iter(clean["input_ids"])
        assert all(token in rest for token in stayed)  # in their order
        assert len(stayed) == 30 - 9
    # Spans of Poisson lengths of mean 2 fill up 9 tokens: 9 / 2 of them and half of the last one.
    assert num_masks / 200 == pytest.approx(5, abs=0.3)


def test_what_is_taken_out_is_a_function_of_seed_epoch_and_chunk() -> None:
    for tokenizer, objective in ((T5, "spans"), (BART, "infilling")):
        task = make(tokenizer, objective=objective)
        examples = task.encode(rows(30, 20, 39, 8))
        first = task.augment(examples, seed=1, epoch=0)
        assert task.augment(examples[::-1], seed=1, epoch=0)[::-1] == first
        for other in ({"seed": 1, "epoch": 1}, {"seed": 2, "epoch": 0}):
            assert task.augment(examples, **other) != first


@pytest.mark.parametrize(("architecture", "tokenizer"), [("t5", T5), ("bart", BART)])
def test_the_loss_is_the_models_own(architecture: str, tokenizer: Any) -> None:
    torch.manual_seed(0)
    task = make(tokenizer, objective="spans" if architecture == "t5" else "infilling")
    options: dict[str, Any] = {"dtype": "float64", "dropout": 0.0, "attention": "auto"}
    config = SIZES[architecture]
    model: Any = build(task.head, tokenizer, architecture=architecture, config=config, **options)
    noisy = task.augment(task.encode(rows(30, 12, 39)), seed=1, epoch=0)
    batch = task.collate(noisy)
    loss = task.loss(task.forward(model, batch), batch)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    assert loss.count == task.count(noisy) == sum(len(example["target_ids"]) for example in noisy)
    assert loss.total.item() / loss.count == pytest.approx(model(**inputs).loss.item(), rel=1e-10)
    with torch.no_grad():
        results = task.predictions(task.forward(model, batch), batch)
    assert results.losses is not None
    assert results.losses.sum() == pytest.approx(loss.total.item(), rel=1e-10)


@pytest.mark.parametrize(
    ("make_one", "refused"),
    [
        (
            lambda: make(words_of("t5", *SENTINELS[:2])).fit({}),
            "<extra_id_2>",
        ),
        (lambda: make(T5, objective="infilling"), "no mask token"),
        (lambda: make(T5, max_length=1).encode(rows(3)), "leaves no room"),
        (lambda: make(words_of("gpt2")).fit({}), "it puts no token after a text"),
        (lambda: make(T5).encode_records(rows(3)), "predicts nothing"),
    ],
)
def test_what_cannot_be_denoised_is_refused(make_one: Callable[[], Any], refused: str) -> None:
    with pytest.raises(ConfigError, match=refused):
        make_one()
