"""What is read from a folder is the tokenizer that was saved there, whatever model lies beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runwright.tokenizer.fingerprint import tokenizer_fingerprint
from runwright.tokenizer.saved import open_saved, other_class

TEXT = "good film , good end"


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], tuple[PreTrainedTokenizerFast, Path]]:
    """A tokenizer of words, and a folder where it was saved beside a model of an architecture."""

    def save(architecture: str) -> tuple[PreTrainedTokenizerFast, Path]:
        words = ["[PAD]", "[UNK]", "good", "film", ",", "end"]
        vocabulary = {word: number for number, word in enumerate(words)}
        inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", clean_up_tokenization_spaces=False
        )
        tokenizer.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": architecture}))
        return tokenizer, tmp_path

    return save


@pytest.mark.parametrize("architecture", ["bert", "qwen2", "qwen3_5", "siglip2"])
def test_the_model_beside_a_tokenizer_does_not_change_it(
    saved: Callable[[str], tuple[PreTrainedTokenizerFast, Path]], architecture: str
) -> None:
    tokenizer, folder = saved(architecture)
    found = open_saved(str(folder))
    assert found(TEXT)["input_ids"] == [2, 3, 4, 2, 5]
    assert tokenizer_fingerprint(found) == tokenizer_fingerprint(tokenizer)


@pytest.mark.parametrize(("architecture", "expected"), [("bert", None), ("qwen2", "Qwen2Tokenizer")])
def test_it_is_known_where_transformers_reads_another(
    saved: Callable[[str], tuple[PreTrainedTokenizerFast, Path]], architecture: str, expected: str | None
) -> None:
    tokenizer, folder = saved(architecture)
    same = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert same == (expected is None)
    assert other_class(folder) == expected


def test_what_says_less_is_read_as_transformers_does(
    saved: Callable[[str], tuple[PreTrainedTokenizerFast, Path]],
) -> None:
    _, folder = saved("qwen2")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    assert type(open_saved(str(folder))) is type(AutoTokenizer.from_pretrained(folder))
