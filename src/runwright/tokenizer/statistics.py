"""Statistics of a tokenizer on texts: tokens per word, unknown ones; and the tokens of one text."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerFast

BATCH = 256
STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")  # a Chinese character, or what stands between spaces


@dataclass(kw_only=True, slots=True)
class Statistics:
    """Counts over some texts, special tokens left out, and the rates that follow from them."""

    vocab_size: int
    num_texts: int = 0
    num_words: int = 0  # between spaces; a Chinese character is one
    num_characters: int = 0
    num_tokens: int = 0
    num_unknown: int = 0  # tokens
    num_used: int = 0  # different tokens

    def rates(self) -> dict[str, float]:
        tokens = max(self.num_tokens, 1)
        return {
            "tokens_per_word": self.num_tokens / max(self.num_words, 1),
            "unknown_rate": self.num_unknown / tokens,
            "characters_per_token": self.num_characters / tokens,
            "vocabulary_used": self.num_used / max(self.vocab_size, 1),
        }


def measure(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Statistics:
    """Counts of the tokens that a tokenizer makes of texts, which are read once, some at a time."""
    backend, counts = tokenizer.backend_tokenizer, Statistics(vocab_size=len(tokenizer))
    backend.no_truncation()  # with which it may have been saved
    backend.no_padding()
    used, waiting = set[int](), iter(texts)
    unknown: Any = tokenizer.unk_token_id
    while batch := list(islice(waiting, BATCH)):
        encodings = backend.encode_batch(batch, add_special_tokens=False)
        counts.num_texts += len(batch)
        for text, encoding in zip(batch, encodings, strict=True):
            counts.num_words += len(WORD.findall(text))
            counts.num_characters += len(text)
            counts.num_tokens += len(encoding.ids)
            counts.num_unknown += encoding.ids.count(unknown)
            used.update(encoding.ids)
    counts.num_used = len(used)
    return counts


def encoded(tokenizer: PreTrainedTokenizerFast, text: str, pair: str | None) -> dict[str, Any]:
    """The tokens of an encoding as a model gets it, the texts decoded again, and what they lost by it.

    `sequence` is 0 or 1, `word` counts within it, start and end are characters; special tokens have none.
    `type` is null where models of this tokenizer take no types. `lost` are [what was there, what is now].
    """
    result: Any = tokenizer(text, pair, verbose=False)
    encoding = result.encodings[0]
    types = result.get("token_type_ids") or [None] * len(encoding.ids)
    names = ("token", "id", "type", "sequence", "word", "start", "end", "special")
    columns = (encoding.tokens, encoding.ids, types, encoding.sequence_ids, encoding.word_ids)
    columns += (*zip(*encoding.offsets, strict=True), map(bool, encoding.special_tokens_mask))
    tokens = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    texts = [text] if pair is None else [text, pair]
    ids = [[token["id"] for token in tokens if token["sequence"] == i] for i in range(len(texts))]
    decoded = [str(tokenizer.decode(numbers)) for numbers in ids]
    lost = [change for sides in zip(texts, decoded, strict=True) for change in _differences(*sides)]
    return {"tokens": tokens, "decoded": decoded, "lost": lost}


def _differences(before: str, after: str) -> list[tuple[str, str]]:
    """Words and signs that differ, from left to right, with what is there now; spaces come last."""
    sides = [re.findall(r"\[\w+\]|<[^<>\s]+>|\w+|[^\w\s]", side) for side in (before, after)]
    steps = SequenceMatcher(None, *sides, autojunk=False).get_opcodes()
    changes = [(sides[0][a:b], sides[1][c:d]) for kind, a, b, c, d in steps if kind != "equal"]
    lost = [(" ".join(old), " ".join(new)) for old, new in changes]
    spaces = [re.findall(r"\s+", side) for side in (before, after)]
    return lost if spaces[0] == spaces[1] else [*lost, ("spaces", "others")]


def describe(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Kind, size, special tokens with their ids, and the names of all steps."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    roles = set(map(str, tokenizer.special_tokens_map.values()))
    extra = [token["content"] for token in state["added_tokens"] if token["special"]]
    return {
        "model": state["model"]["type"],
        "vocab_size": len(tokenizer),
        "special_tokens": {
            name: {"token": str(token), "id": tokenizer.convert_tokens_to_ids(str(token))}
            for name, token in tokenizer.special_tokens_map.items()
            if str(token) in tokenizer.get_vocab()
        },
        "extra_special_tokens": [token for token in extra if token not in roles],
        **{name: _steps(state[name]) for name in STEPS},
        "pair": tokenizer.convert_ids_to_tokens(tokenizer("A", "B")["input_ids"]),
        "padding_side": tokenizer.padding_side,
        # transformers writes "not set" as int(1e30)
        "max_length": tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None,
    }


def _steps(state: Any) -> list[str]:
    if state is None:
        return []
    for name in ("normalizers", "pretokenizers", "processors", "decoders"):
        if state.get(name):
            return [step for inner in state[name] for step in _steps(inner)]
    return [state["type"]]
