"""Texts as chunks of a fixed number of tokens, none lost and none twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runwright.task.windows import window_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Neighbouring tokens of one text, or of several that follow one another."""

    example_id: int
    row_id: int  # the row in which it begins
    ids: list[int]
    words: list[int]  # of each token, numbered within the chunk; distinct texts have distinct words


def cut_chunks(
    tokenizer: Any, texts: Sequence[Any], row_ids: Sequence[int], *, size: int, join_rows: bool
) -> Iterator[Chunk]:
    """Chunks of `size` tokens without special ones; the last one of a text, or of all texts, may be shorter.

    With `join_rows` texts run on into one another; otherwise each begins a chunk of its own. A text without a
    token makes none.
    """
    encoded = tokenizer(
        ["" if text is None else str(text) for text in texts],
        add_special_tokens=False, return_attention_mask=False, verbose=False,
    )  # fmt: skip
    tokens: list[tuple[int, int, int]] = []  # id, word, row
    first_word = 0
    counts: dict[int, int] = {}
    for place, row_id in enumerate(row_ids):
        words = [-1 if word is None else word for word in encoded.word_ids(place)]
        ids = encoded["input_ids"][place]
        tokens += [(i, first_word + w, row_id) for i, w in zip(ids, words, strict=True)]
        first_word += max(words, default=-1) + 1
        while len(tokens) >= size:
            yield _chunk(tokens[:size], counts)
            tokens = tokens[size:]
        if tokens and not join_rows:
            yield _chunk(tokens, counts)
            tokens = []
    if tokens:
        yield _chunk(tokens, counts)


def _chunk(tokens: Sequence[tuple[int, int, int]], counts: dict[int, int]) -> Chunk:
    row_id, first_word = tokens[0][2], tokens[0][1]
    number = counts.get(row_id, 0)
    counts[row_id] = number + 1
    return Chunk(
        example_id=window_id(row_id, number),
        row_id=row_id,
        ids=[token for token, _, _ in tokens],
        words=[word - first_word for _, word, _ in tokens],
    )


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    # Its padding stands for a text: one token with every tokenizer, whatever letters it has learned.
    encoded = tokenizer(tokenizer.pad_token, split_special_tokens=False, verbose=False)
    ids, place = encoded["input_ids"], encoded.sequence_ids(0).index(0)
    return ids[:place], ids[place + 1 :]
