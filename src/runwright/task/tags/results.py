"""From scores of pieces to tags of words and spans of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runwright.config.tag_schemes import OUTSIDE
from runwright.predictions import Labelled, Ragged
from runwright.task.tags.columns import TagColumns, read_tags, words_of_rows
from runwright.task.windows import MAX_WINDOWS

ToSpans = Callable[[Sequence[int]], list[tuple[int, int, int]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """The pieces of one row as its tokenizer made them."""

    ids: list[int]
    words: list[int]  # the word in which each begins, -1: none
    offsets: list[tuple[int, int]]  # characters

    def labels(self, tags: Sequence[int], *, only_first: bool, ignored: int = -100) -> list[int]:
        """The tag of each piece's word; only on the first piece of a word, or on all."""
        found, before = [], -1
        for word in self.words:
            skipped = word < 0 or (only_first and word == before)
            found.append(ignored if skipped else tags[word])
            before = word
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class PiecePredictions(Labelled):
    """What is said of the pieces that each window speaks for."""

    example_ids: np.ndarray  # [N] int64, of windows
    pieces: Ragged  # [N] rows of [T, 3] int32: word in the row, first character, one past the last
    scores: Ragged  # [N] rows of [T, C] float32 probabilities
    losses: np.ndarray | None  # [N] float64, summed over pieces with a tag
    loss_counts: np.ndarray | None  # [N] float64
    groups: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TagResults(Labelled):
    """Tags and spans of N rows; spans are [S, 3]: first word, one past the last, index of the type."""

    example_ids: np.ndarray  # [N] int64, of rows
    predicted: Ragged  # [N] rows of [W] int64 tags
    scores: Ragged  # [N] rows of [W] float32, probability of the tag
    spans: Ragged  # [N] rows of [S, 3] int64
    pieces: Ragged  # [N] rows of [T, 4] int32: word, characters, tag
    piece_scores: Ragged  # [N] rows of [T] float32
    expected: Ragged | None = None  # as `predicted`
    expected_spans: Ragged | None = None  # as `spans`
    losses: np.ndarray | None = None
    loss_counts: np.ndarray | None = None
    groups: np.ndarray | None = None


def assemble_rows(
    predictions: Any,
    rows: Any,
    *,
    columns: TagColumns,
    label_names: Sequence[str],
    aggregation: str,
    to_spans: ToSpans,
) -> TagResults:
    """Tags and spans of each row from the pieces of its windows, which come in the order of their ids."""
    row_ids, firsts = np.unique(predictions.example_ids // MAX_WINDOWS, return_index=True)
    windows = np.split(np.arange(len(predictions.example_ids)), firsts[1:])
    places = {int(row_id): place for place, row_id in enumerate(rows["row_id"])}
    chosen = [places[int(row_id)] for row_id in row_ids]
    tags = _expected(rows, columns, label_names)
    num_words = _num_words(rows, columns)
    outside = label_names.index(OUTSIDE) if OUTSIDE in label_names else 0
    found = [
        _of_words(
            np.concatenate([predictions.pieces.row(window) for window in of_row]),
            np.concatenate([predictions.scores.row(window) for window in of_row]),
            num_words=num_words[place],
            aggregation=aggregation,
            outside=outside,
        )
        for of_row, place in zip(windows, chosen, strict=True)
    ]
    expected = None if tags is None else [tags[place] for place in chosen]

    def sums(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else np.add.reduceat(values, firsts)

    return TagResults(
        example_ids=row_ids,
        predicted=Ragged.of([each.tags for each in found], dtype=np.int64),
        scores=Ragged.of([each.scores for each in found], dtype=np.float32),
        spans=_span_rows([to_spans(each.tags.tolist()) for each in found]),
        pieces=_rows_of([each.pieces for each in found], width=4, dtype=np.int32),
        piece_scores=Ragged.of([each.piece_scores for each in found], dtype=np.float32),
        expected=None if expected is None else Ragged.of(expected, dtype=np.int64),
        expected_spans=None if expected is None else _span_rows([to_spans(each) for each in expected]),
        losses=sums(predictions.losses) if expected is not None else None,
        loss_counts=sums(predictions.loss_counts) if expected is not None else None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    tags: np.ndarray  # [W]
    scores: np.ndarray  # [W]
    pieces: np.ndarray  # [T, 4]
    piece_scores: np.ndarray  # [T]


def _of_words(
    pieces: np.ndarray, scores: np.ndarray, *, num_words: int, aggregation: str, outside: int
) -> _Words:
    """Tags of words from probabilities [T, C] of their pieces [T, 3]; a word without a piece is outside."""
    own = scores.argmax(axis=1) if len(scores) else np.empty(0, dtype=np.int64)
    tags = np.full(num_words, outside, dtype=np.int64)
    confidence = np.zeros(num_words, dtype=np.float32)
    words, firsts = np.unique(pieces[:, 0], return_index=True)
    if len(words):
        of_words = _joined(scores, firsts, aggregation)
        tags[words], confidence[words] = of_words.argmax(axis=1), of_words.max(axis=1)
    return _Words(
        tags=tags,
        scores=confidence,
        pieces=np.concatenate([pieces, own[:, None]], axis=1),
        piece_scores=scores.max(axis=1) if len(scores) else np.empty(0, dtype=np.float32),
    )


def _joined(scores: np.ndarray, firsts: np.ndarray, aggregation: str) -> np.ndarray:
    """Probabilities of words [W, C] from those of their pieces, which lie together."""
    if aggregation == "average":
        lengths = np.diff([*firsts, len(scores)])
        return np.add.reduceat(scores, firsts, axis=0) / lengths[:, None]
    if aggregation == "max":
        best = [
            first + int(part.max(axis=1).argmax())
            for first, part in zip(firsts, np.split(scores, firsts[1:]), strict=True)
        ]
        return scores[best]
    return scores[firsts]


def _expected(rows: Any, columns: TagColumns, label_names: Sequence[str]) -> list[list[int]] | None:
    if columns.tags not in getattr(rows, "column_names", ()):
        return None
    return read_tags(rows, columns, label_names, split="evaluation")


def _num_words(rows: Any, columns: TagColumns) -> list[int]:
    there = [name for name in (columns.words, columns.text) if name in getattr(rows, "column_names", rows)]
    _, spans = words_of_rows({there[0]: rows[there[0]][:]}, columns)
    return [len(of_row) for of_row in spans]


def _span_rows(rows: Sequence[Sequence[tuple[int, int, int]]]) -> Ragged:
    return _rows_of([np.array(row, dtype=np.int64).reshape(-1, 3) for row in rows], width=3, dtype=np.int64)


def _rows_of(rows: Sequence[np.ndarray], *, width: int, dtype: Any) -> Ragged:
    values = np.concatenate(rows).astype(dtype) if rows else np.empty((0, width), dtype=dtype)
    return Ragged(values, np.array([len(row) for row in rows], dtype=np.int64))
