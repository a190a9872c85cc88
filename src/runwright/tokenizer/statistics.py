"""What a tokenizer makes of texts: tokens per word, unknown ones, compression, speed, and the pieces."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerFast

BATCH = 256
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")  # a Chinese character, or what stands between spaces


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """Counts over some texts, special tokens left out, and the rates that follow from them."""

    vocab_size: int
    num_texts: int
    num_words: int  # between spaces; a Chinese character is one
    num_characters: int
    num_bytes: int  # of UTF-8
    num_tokens: int
    num_unknown: int  # tokens
    num_used: int  # different tokens
    seconds: float

    def rates(self) -> dict[str, float]:
        """The figures to compare tokenizers by."""
        tokens, seconds = max(self.num_tokens, 1), max(self.seconds, 1e-9)
        return {
            "tokens_per_word": self.num_tokens / max(self.num_words, 1),
            "unknown_rate": self.num_unknown / tokens,
            "characters_per_token": self.num_characters / tokens,
            "bytes_per_token": self.num_bytes / tokens,
            "vocabulary_used": self.num_used / max(self.vocab_size, 1),
            "megabytes_per_second": self.num_bytes / 1e6 / seconds,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a text and the tokens that stand for it: several where a character is cut into bytes."""

    text: str
    tokens: tuple[str, ...]
    unknown: bool


def measure(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Statistics:
    """What the tokenizer makes of the texts, which are read once, some at a time."""
    backend = _plain(tokenizer)
    counts = dict.fromkeys(("texts", "words", "characters", "bytes", "tokens", "unknown"), 0)
    used: set[int] = set()
    seconds, waiting = 0.0, iter(texts)
    while batch := list(islice(waiting, BATCH)):
        began = time.perf_counter()
        encodings = backend.encode_batch(batch, add_special_tokens=False)
        seconds += time.perf_counter() - began
        counts["texts"] += len(batch)
        for text, encoding in zip(batch, encodings, strict=True):
            counts["words"] += len(WORD.findall(text))
            counts["characters"] += len(text)
            counts["bytes"] += len(text.encode("utf-8", "surrogatepass"))
            counts["tokens"] += len(encoding.ids)
            counts["unknown"] += encoding.ids.count(tokenizer.unk_token_id)
            used.update(encoding.ids)
    return Statistics(
        vocab_size=len(tokenizer),
        num_texts=counts["texts"],
        num_words=counts["words"],
        num_characters=counts["characters"],
        num_bytes=counts["bytes"],
        num_tokens=counts["tokens"],
        num_unknown=counts["unknown"],
        num_used=len(used),
        seconds=seconds,
    )


def cut(tokenizer: PreTrainedTokenizerFast, text: str) -> list[Piece]:
    """The pieces of a text in their order; what a normalizer drops belongs to none."""
    encoding = _plain(tokenizer).encode(text, add_special_tokens=False)
    pieces: list[Piece] = []
    last_end = 0
    for token, number, (start, end) in zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True):
        unknown = number == tokenizer.unk_token_id
        if pieces and start < last_end:  # another byte of the same character
            whole = pieces[-1].text + text[last_end:end]
            tokens = (*pieces[-1].tokens, token)
            pieces[-1] = Piece(text=whole, tokens=tokens, unknown=pieces[-1].unknown or unknown)
        else:
            pieces.append(Piece(text=text[start:end], tokens=(token,), unknown=unknown))
        last_end = max(last_end, end)
    return pieces


def describe(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Kind, size, special tokens with their ids, and the names of all steps."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    pair = tokenizer("A", "B")["input_ids"]
    extra: Any = tokenizer.extra_special_tokens or []
    return {
        "model": state["model"]["type"],
        "vocab_size": len(tokenizer),
        "special_tokens": {
            name: {"token": token, "id": tokenizer.convert_tokens_to_ids(token)}
            for name, token in special.items()
            if token in tokenizer.get_vocab()
        },
        "extra_special_tokens": [str(token) for token in extra],
        "normalizer": _steps(state["normalizer"]),
        "pre_tokenizer": _steps(state["pre_tokenizer"]),
        "post_processor": _steps(state["post_processor"]),
        "decoder": _steps(state["decoder"]),
        "pair": tokenizer.convert_ids_to_tokens(pair),
        "padding_side": tokenizer.padding_side,
        "max_length": tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None,
    }


def _steps(state: Any) -> list[str]:
    if state is None:
        return []
    parts: Sequence[Any] = next(
        (state[name] for name in ("normalizers", "pretokenizers", "processors", "decoders") if name in state),
        (),
    )
    return [step for part in parts for step in _steps(part)] if parts else [state["type"]]


def _plain(tokenizer: PreTrainedTokenizerFast) -> Any:
    """The tokenizer without the cut and the padding that it may have been saved with."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend
