"""Long inputs cut into windows that overlap, each position spoken for by exactly one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

MAX_WINDOWS = 1 << 16  # of one row: leaves 47 bits of an example id for the row


class Window(NamedTuple):
    """Pieces `start` to `end` - 1 of a row; it speaks for `own_start` to `own_end` - 1."""

    start: int
    end: int
    own_start: int
    own_end: int


def cut_windows(num_pieces: int, *, size: int, overlap: int) -> list[Window]:
    """Windows of at most `size` pieces, each beginning `size - overlap` after the one before.

    In an overlap the border lies in the middle, so every piece is judged where it has the most context.
    """
    assert 0 <= overlap < size, (overlap, size)
    starts = [0]
    while starts[-1] + size < num_pieces:
        starts.append(starts[-1] + size - overlap)
    ends = [min(start + size, num_pieces) for start in starts]
    borders = [0, *((ends[i] + starts[i + 1]) // 2 for i in range(len(starts) - 1)), num_pieces]
    return [Window(*cut) for cut in zip(starts, ends, borders[:-1], borders[1:], strict=True)]


def window_id(row_id: int, window: int) -> int:
    """An example id that is distinct within a split."""
    assert window < MAX_WINDOWS, f"row {row_id} is cut into more than {MAX_WINDOWS} windows"
    return row_id * MAX_WINDOWS + window


def rows_of_windows(example_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows [R] of sorted example ids, and where the first example of each is."""
    return np.unique(example_ids // MAX_WINDOWS, return_index=True)


def sums_of_windows(values: np.ndarray | None, firsts: np.ndarray) -> np.ndarray | None:
    """Sums by row of what windows have, see `rows_of_windows`."""
    return None if values is None else np.add.reduceat(values, firsts)


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
