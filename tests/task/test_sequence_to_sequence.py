"""Encoder-decoders: decoder inputs, losses and counts as the models' own, references, languages, mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSeq2SeqLM, BertConfig, BertModel, NllbTokenizer
from transformers.trainer_pt_utils import LabelSmoother

from runwright.dataset.examples import record_batch
from runwright.errors import ConfigError, DataError
from runwright.model.lora import Lora
from runwright.model.parameters import max_positions
from runwright.model.pretrained import load, load_halves
from runwright.model.scratch import build
from runwright.task.generating import shifted_right
from runwright.task.sequence_to_sequence import SequenceToSequence
from runwright.tokenizer.algorithms import Corpus, Words
from runwright.tokenizer.pretrained import open_saved
from runwright.tokenizer.trained import train
from runwright.trainer.batches import Cut, cut_batch

WIDE: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "max_position_embeddings": 12,
}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
FEED = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 12}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "d_ff": 16},
    "bart": WIDE | HEADS | FEED,
    "marian": WIDE | HEADS | FEED,
    "mbart": WIDE | HEADS | FEED,
    "encoder-decoder": {
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    },  # two BERTs
}
ROWS = {
    "row_id": [7, 8, 9],
    "source": ["a b c d a b", "c", "b d d"],
    "target": [["d c"], ["a b c d", "b"], ["a"]],
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Words, with the special tokens of BART."""
    texts = ["a b c d"] * 3
    corpus = Corpus(batches=lambda: iter([texts]), state={}, name="words")
    return train(
        corpus, columns=None, family="roberta", extra_tokens=["<fr>"], normalizer=[],
        replace={}, pre_tokenizer=["whitespace"], model=Words(vocab_size=20, min_frequency=1),
        post_processor=None, decoder=None, padding_side="right",
    )  # fmt: skip


@pytest.fixture
def make_task(tokenizer: Any) -> Callable[..., SequenceToSequence]:
    def make(with_tokenizer: Any = None, **options: Any) -> SequenceToSequence:
        defaults: dict[str, Any] = {
            "source_column": "source", "target_column": "target", "prefix": "", "max_length": 10,
            "max_target_length": 10, "source_language": None, "target_language": None,
            "forced_first_token": None, "label_smoothing": 0.0, "target_tokenizer": None,
        }  # fmt: skip
        return SequenceToSequence(with_tokenizer or tokenizer, **defaults | options)

    return make


@pytest.fixture
def make_model(
    tokenizer: Any, make_task: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    def make(architecture: str, dtype: str = "float64") -> Any:
        torch.manual_seed(0)
        options: dict[str, Any] = {"dtype": dtype, "dropout": 0.0, "attention": "auto"}
        config = dict(ARCHITECTURES[architecture])
        if architecture == "encoder-decoder":
            half = tmp_path_factory.mktemp("half")
            config |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
            BertModel(BertConfig(hidden_size=16, **config)).save_pretrained(half)
            tokenizer.save_pretrained(half)
            halves = {"name": str(half), "decoder": str(half), "shared": False}
            return load_halves(make_task().head, tokenizer, **halves, **options).train()
        return build(make_task().head, tokenizer, architecture=architecture, config=config, **options).train()

    return make


def encoded(task: SequenceToSequence, rows: dict[str, list[Any]] = ROWS) -> list[dict[str, Any]]:
    inputs: Any = task.inputs_of(Dataset.from_dict(rows), split="train")
    return task.encode(inputs[:])


def mean_loss(task: SequenceToSequence, model: Any, batch: dict[str, torch.Tensor]) -> float:
    loss = task.loss(task.forward(model, batch), batch)
    return loss.total.item() / loss.count


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-10), ("float32", 1e-6)])
def test_the_loss_is_the_models_own_whatever_the_padding(
    architecture: str, dtype: str, limit: float, make_task: Any, make_model: Any
) -> None:
    task, model = make_task(), make_model(architecture, dtype)
    examples = encoded(task)
    batch = task.collate(examples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # EncoderDecoderModel's, at each loss of its own
        theirs = model(batch["input_ids"], batch["attention_mask"], labels=batch["labels"]).loss
    assert task.loss(task.forward(model, batch), batch).count == task.count(examples) == 4 + 6 + 3
    assert mean_loss(task, model, batch) == pytest.approx(theirs.item(), rel=limit)
    alone = [mean_loss(task, model, task.collate([example])) for example in examples]
    assert (4 * alone[0] + 6 * alone[1] + 3 * alone[2]) / 13 == pytest.approx(theirs.item(), rel=limit)
    own = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    assert shifted_right(batch["labels"], model.config).tolist() == own.tolist()


def test_label_smoothing_has_the_number_of_tokens_as_its_denominator(make_task: Any, make_model: Any) -> None:
    task, model = make_task(label_smoothing=0.1), make_model("bart")
    batch = task.collate(encoded(task))
    outputs = model(batch["input_ids"], batch["attention_mask"], labels=batch["labels"])
    shares = outputs.logits.detach().log_softmax(dim=-1)[batch["labels"] != -100]
    truth = batch["labels"][batch["labels"] != -100]
    spread = 0.9 * shares[torch.arange(13), truth] + 0.1 * shares.mean(dim=1)
    assert mean_loss(task, model, batch) == pytest.approx(-spread.mean().item(), rel=1e-10)
    # transformers sums over the vocabulary in float32
    theirs = LabelSmoother(epsilon=0.1)({"logits": outputs.logits}, batch["labels"])
    assert mean_loss(task, model, batch) == pytest.approx(theirs.item(), rel=1e-7)
    plain = mean_loss(task, model.eval(), batch)  # evaluations of any smoothing compare
    assert plain == pytest.approx(outputs.loss.item(), rel=1e-10)


@pytest.mark.parametrize("architecture", ["t5", "bart", "marian"])
def test_tied_weights_stay_tied_and_are_saved_once(
    architecture: str, make_task: Any, make_model: Any, tmp_path: Path
) -> None:
    task, model = make_task(), make_model(architecture, "float32")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    batch = task.collate(encoded(task))
    task.loss(task.forward(model, batch), batch).total.backward()
    optimizer.step()
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    model.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).train()
    assert again.get_input_embeddings().weight is again.get_output_embeddings().weight
    losses = [task.forward(one, batch) for one in (model, again)]
    assert torch.equal(*losses)


def test_the_first_reference_is_trained_on_and_all_are_compared_with(make_task: Any, tokenizer: Any) -> None:
    task = make_task(prefix="d ")
    examples = encoded(task)
    assert [example["example_id"] for example in examples] == [7, 8, 9]
    assert tokenizer.decode(examples[1]["target_ids"]) == "<s> a b c d </s>"
    assert tokenizer.decode(examples[1]["input_ids"]) == "<s> d c </s>"
    assert task.references(Dataset.from_dict(ROWS)) == ROWS["target"]
    texts = Dataset.from_dict({**ROWS, "target": ["a", "b", "c"]})
    assert task.references(texts) == [["a"], ["b"], ["c"]]
    assert task.references({"source": ["a"]}) is None


def test_a_cut_source_and_target_keep_their_end_and_are_counted(make_task: Any, tokenizer: Any) -> None:
    examples = encoded(make_task(max_length=5, max_target_length=4))
    assert tokenizer.decode(examples[0]["input_ids"]) == "<s> a b c </s>"
    assert tokenizer.decode(examples[1]["target_ids"]) == "<s> a b </s>"
    assert [example["full_length"] for example in examples] == [8, 3, 5]
    assert [example["full_target_length"] for example in examples] == [4, 6, 3]


def test_records_to_predict_need_no_target(make_task: Any) -> None:
    task = make_task()
    examples = task.encode_records({"row_id": [0], "source": ["a b"]})
    assert set(task.collate(examples)) == {"input_ids", "attention_mask", "example_ids"}


@pytest.mark.parametrize(
    ("targets", "message"),
    [([["a"], [], ["b"]], "the target is empty"), (["a", " ", "b"], "the target is empty")],
)
def test_a_row_without_a_target_is_named(targets: list[Any], message: str, make_task: Any) -> None:
    with pytest.raises(DataError, match=message) as caught:
        make_task().fit({"train": Dataset.from_dict({**ROWS, "target": targets})})
    assert caught.value.row == 1


def test_a_target_that_is_no_text_is_named_by_its_row(make_task: Any) -> None:
    with pytest.raises(DataError, match="where a text is expected") as caught:
        make_task().read_labels({"target": ["a", {"b": "c"}]}, split="validation")
    assert (caught.value.split, caught.value.row, caught.value.column) == ("validation", 1, "target")


def test_tokenizers_that_cannot_serve_are_refused(make_task: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"task\.target_language: .* has no codes of languages"):
        make_task(target_language="fra_Latn")
    with pytest.raises(
        ConfigError, match=r"task\.forced_first_token: the tokenizer has no token '<fe>'.*<fr>"
    ):
        make_task(forced_first_token="<fe>")
    assert make_task(forced_first_token="<fr>").forced_bos == tokenizer.convert_tokens_to_ids("<fr>")


def test_languages_are_put_at_sources_and_targets(make_task: Any) -> None:
    codes = ["eng_Latn", "fra_Latn"]
    vocabulary = {
        token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", *codes])
    }
    nllb = NllbTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=codes)
    task = make_task(nllb, source_language="eng_Latn", target_language="fra_Latn")
    (example,) = encoded(task, {"row_id": [0], "source": ["a"], "target": ["b"]})
    assert nllb.convert_ids_to_tokens(example["input_ids"])[0] == "eng_Latn"
    assert nllb.convert_ids_to_tokens(example["target_ids"])[0] == "fra_Latn"
    assert task.forced_bos == vocabulary["fra_Latn"]
    with pytest.raises(ConfigError, match=r"task\.source_language: the tokenizer has no token 'eng_Latin'"):
        make_task(nllb, source_language="eng_Latin")


def test_adapters_are_what_is_trained(make_task: Any, make_model: Any) -> None:
    from runwright.model.lora import add_adapters

    lora = Lora(rank=2, alpha=2.0, dropout=0.0, target_modules=None)
    for architecture in ("t5", "bart"):
        task, model = make_task(), make_model(architecture, "float32")
        batch = task.collate(encoded(task))
        before = task.forward(model, batch)
        adapted = add_adapters(model, lora, new=set()).train()
        losses = task.forward(adapted, batch)
        assert torch.allclose(losses, before, atol=1e-6)  # the second factor starts at zero
        losses.sum().backward()
        trained = {name for name, p in adapted.named_parameters() if p.grad is not None}
        assert trained
        assert all("lora_" in name for name in trained)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_is_the_same_and_begins_and_ends_as_the_tokenizer_does(
    architecture: str, make_task: Any, make_model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    task, model = make_task(), make_model(architecture, "float32")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    options: dict[str, Any] = {
        "revision": None,
        "dtype": "float32",
        "dropout": None,
        "freeze": [],
        "lora": None,
    }
    loaded: Any = load(
        task.head, open_saved(str(tmp_path)), name=str(tmp_path), embeddings="by_number", attention="auto",
        **options,
    )  # fmt: skip
    batch = task.collate(encoded(task))
    assert torch.equal(task.forward(loaded.eval(), batch), task.forward(model.eval(), batch))
    assert loaded.config.pad_token_id == tokenizer.pad_token_id
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id
    assert max_positions(loaded) == {"t5": None, "encoder-decoder": 512}.get(architecture, 12)


def test_batches_are_bounded_by_the_padding_of_both_sides(make_task: Any) -> None:
    from runwright.dataset.examples import PreparedExamples

    prepared = PreparedExamples([record_batch(encoded(make_task()))], cache_note="")
    assert prepared.widths.tolist() == [[8, 4], [3, 6], [5, 3]]
    assert prepared.lengths.tolist() == [12, 9, 8]
    chance = np.random.default_rng(0)
    widths = chance.integers(1, 40, size=(60, 2))
    parts = cut_batch(widths, Cut(microbatch_tokens=150))
    assert sorted(place for part in parts for place in part) == list(range(60))
    assert max(len(part) * int(widths[part].max(axis=0).sum()) for part in parts) <= 150
    assert max(map(len, parts)) > 2
