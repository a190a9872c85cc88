"""From scores of pieces to tags of words and spans of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runwright.config.tag_schemes import OUTSIDE
from runwright.predictions import Labelled, Ragged
from runwright.task.tags.columns import TagColumns, read_tags, words_of_rows
from runwright.task.tags.spans import TagSet
from runwright.task.windows import rows_of_windows, sums_of_windows


@dataclass(frozen=True, kw_only=True, slots=True)
class PiecePredictions(Labelled):
    """Predictions for the pieces that each window speaks for."""

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
    predictions: PiecePredictions, rows: Any, *, columns: TagColumns, tag_set: TagSet, aggregation: str
) -> TagResults:
    """Tags and spans of each row from the pieces of its windows, which come in the order of their ids.

    A word without a piece is outside.
    """
    row_ids, firsts = rows_of_windows(predictions.example_ids)
    places = {int(row_id): place for place, row_id in enumerate(rows["row_id"])}
    order = [places[int(row_id)] for row_id in row_ids]
    pieces, scores = predictions.pieces.joined(firsts), predictions.scores.joined(firsts)
    _, words_of = words_of_rows(rows, columns)
    outside = tag_set.names.index(OUTSIDE) if OUTSIDE in tag_set.names else 0
    tags = [np.full(len(words_of[place]), outside, dtype=np.int64) for place in order]
    confidence = [np.zeros(len(words_of[place]), dtype=np.float32) for place in order]
    for number, (own_pieces, own_scores) in enumerate(zip(pieces.rows(), scores.rows(), strict=True)):
        words, starts = np.unique(own_pieces[:, 0], return_index=True)
        if len(words):
            of_words = _joined(own_scores, starts, aggregation)
            tags[number][words], confidence[number][words] = of_words.argmax(axis=1), of_words.max(axis=1)
    piece_tags = scores.values.argmax(axis=1)[:, None]
    has_tags = columns.tags in getattr(rows, "column_names", ())  # records to predict have none
    expected = read_tags(rows, columns, tag_set.names, split="evaluation") if has_tags else None
    judged: dict[str, Any] = {}
    if expected is not None:
        judged = _judged([expected[place] for place in order], predictions, firsts, tag_set)
    return TagResults(
        example_ids=row_ids,
        predicted=Ragged.of(tags, dtype=np.int64),
        scores=Ragged.of(confidence, dtype=np.float32),
        spans=Ragged.of([tag_set.spans(row.tolist()) for row in tags], dtype=np.int64, width=3),
        pieces=Ragged(np.hstack([pieces.values, piece_tags]).astype(np.int32), pieces.lengths),
        piece_scores=Ragged(scores.values.max(axis=1), scores.lengths),
        **judged,
    )


def _judged(
    expected: list[list[int]], predictions: PiecePredictions, firsts: np.ndarray, tag_set: TagSet
) -> dict[str, Any]:
    return {
        "expected": Ragged.of(expected, dtype=np.int64),
        "expected_spans": Ragged.of([tag_set.spans(row) for row in expected], dtype=np.int64, width=3),
        "losses": sums_of_windows(predictions.losses, firsts),
        "loss_counts": sums_of_windows(predictions.loss_counts, firsts),
    }


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
