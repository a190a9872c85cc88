"""Small tokenizers saved to a folder, as a user would have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """`save(words, **special_tokens)`: the folder of a word-level tokenizer."""

    def save_tokenizer(words: list[str], name: str = "tokenizer", **special_tokens: Any) -> str:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        folder = tmp_path / name
        PreTrainedTokenizerFast(tokenizer_object=inner, **special_tokens).save_pretrained(folder)
        return str(folder)

    return save_tokenizer
