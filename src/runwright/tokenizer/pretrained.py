"""Tokenizers from a hub, a local folder or a folder inside an installed package."""

from __future__ import annotations

from typing import Literal

from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.tokenizer.saved import open_saved


def load_pretrained(
    *, name: str, revision: str | None, padding_side: Literal["left", "right"] | None, pad_token: str | None
) -> PreTrainedTokenizerFast:
    """The tokenizer saved under `name`, ready to pad; no code that came with it is run.

    Raises ConfigError where it cannot be loaded or has no token to pad with.
    """
    tokenizer = open_saved(name, revision=revision)
    if padding_side is not None:
        tokenizer.padding_side = padding_side
    if pad_token is not None:
        _set_pad_token(tokenizer, pad_token)
    if tokenizer.pad_token_id is None:
        own = [str(token) for token in (tokenizer.eos_token, tokenizer.unk_token) if token]
        raise ConfigError(
            f"tokenizer.pad_token: {name!r} was saved without a token to pad with; name one of its own"
            + (f", for example {' or '.join(own)}" if own else "")
        )
    return tokenizer


def max_tokens(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """How long an input the tokenizer was saved for, None where it does not say."""
    # transformers writes "not set" as int(1e30).
    return None if tokenizer.model_max_length > 10**9 else int(tokenizer.model_max_length)


def _set_pad_token(tokenizer: PreTrainedTokenizerFast, pad_token: str) -> None:
    # A token outside the vocabulary would get an id beyond the model's embedding.
    if pad_token not in tokenizer.get_vocab():
        raise ConfigError(f"tokenizer.pad_token: {pad_token!r} is not in the tokenizer's vocabulary")
    tokenizer.pad_token = pad_token
