"""A hash of everything about a tokenizer that changes what it encodes."""

from __future__ import annotations

import hashlib
import json

import tokenizers
from transformers import PreTrainedTokenizerFast


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast, *, with_version: bool = True) -> str:
    """32 hex digits, the same in every process; whether the tokenizer was used before makes no difference.

    `with_version`: another version of the library counts as another tokenizer.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # A call with padding or truncation leaves its arguments behind in these two; the next call replaces them.
    state.pop("truncation", None)
    state.pop("padding", None)
    settings = {
        "class": type(tokenizer).__name__,
        "tokenizers": tokenizers.__version__ if with_version else "any",
        "special_tokens": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "model_max_length": str(tokenizer.model_max_length),
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "model_input_names": list(tokenizer.model_input_names),
    }
    text = json.dumps([state, settings], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
