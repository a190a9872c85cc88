"""Figures over spans of words: right where first word, last word and type are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np

from runwright.metric.class_counts import ratio

Average = Literal["micro", "macro", "weighted"]


class _SpanFigure(ABC):
    """Counts of right, predicted and expected spans, by type.

    micro: over all spans; macro: mean over the types that occur; weighted: that mean by how often they are
    expected. What is undefined counts as 0, as in seqeval, whose figures these are.
    """

    suits = ("tags",)

    def __init__(self, *, average: Average) -> None:
        self.average = average
        self._counts = np.zeros((3, 0), dtype=np.int64)

    def update(self, predictions: Any) -> None:
        """Take in some rows: tag results with `spans` and `expected_spans`."""
        self._add(_counts_by_row(predictions).sum(axis=0))

    def merge(self, other: _SpanFigure) -> None:
        """Take in what another instance has seen."""
        self._add(other._counts)

    def compute(self) -> float:
        """From 0 to 1; 0 where no span is right."""
        return float(self._figure(self._counts[None])[0])

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        by_row = _counts_by_row(predictions)
        summed = counts @ by_row.reshape(len(by_row), -1).astype(np.float64)
        return self._figure(summed.reshape(len(counts), 3, -1))

    def _add(self, counts: np.ndarray) -> None:
        num_types = max(counts.shape[1], self._counts.shape[1])
        self._counts = _widened(self._counts, num_types) + _widened(counts, num_types)

    def _figure(self, counts: np.ndarray) -> np.ndarray:
        """[S] from counts [S, 3, types]."""
        if self.average == "micro":
            return self._ratio(counts.sum(axis=2, keepdims=True))[:, 0]
        figures, support = self._ratio(counts), counts[:, 2]
        occurs = (counts[:, 1] + support > 0) if self.average == "macro" else support
        return ratio((figures * occurs).sum(axis=1), occurs.sum(axis=1), undefined=0.0)

    @abstractmethod
    def _ratio(self, counts: np.ndarray) -> np.ndarray:
        """[S, types] from counts [S, 3, types]."""


class SpanPrecision(_SpanFigure):
    """Share of the predicted spans that are right."""

    def _ratio(self, counts: np.ndarray) -> np.ndarray:
        return ratio(counts[:, 0], counts[:, 1], undefined=0.0)


class SpanRecall(_SpanFigure):
    """Share of the expected spans that were found."""

    def _ratio(self, counts: np.ndarray) -> np.ndarray:
        return ratio(counts[:, 0], counts[:, 2], undefined=0.0)


class SpanF1(_SpanFigure):
    """Harmonic mean of precision and recall of spans."""

    def _ratio(self, counts: np.ndarray) -> np.ndarray:
        return ratio(2 * counts[:, 0], counts[:, 1] + counts[:, 2], undefined=0.0)


class TagAccuracy:
    """Share of words with the right tag."""

    suits = ("tags",)

    def __init__(self) -> None:
        self._num_right = 0
        self._num_words = 0

    def update(self, predictions: Any) -> None:
        """Take in some rows: tag results with `predicted` and `expected`."""
        right = predictions.predicted.values == predictions.expected.values
        self._num_right += int(right.sum())
        self._num_words += len(right)

    def merge(self, other: TagAccuracy) -> None:
        """Take in what another instance has seen."""
        self._num_right += other._num_right
        self._num_words += other._num_words

    def compute(self) -> float:
        """From 0 to 1; NaN for no word."""
        return self._num_right / self._num_words if self._num_words else float("nan")

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        lengths = predictions.predicted.lengths
        right = (predictions.predicted.values == predictions.expected.values).astype(np.float64)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        by_row = np.bincount(rows, weights=right, minlength=len(lengths))
        return ratio(counts @ by_row, counts @ lengths.astype(np.float64), undefined=np.nan)


def _counts_by_row(predictions: Any) -> np.ndarray:
    """Right, predicted and expected spans by row and type, [N, 3, types] int64."""
    found, wanted = predictions.spans, predictions.expected_spans
    num_types = int(max(found.values[:, 2].max(initial=-1), wanted.values[:, 2].max(initial=-1))) + 1
    counts = np.zeros((len(found), 3, num_types), dtype=np.int64)
    rows = [np.repeat(np.arange(len(each)), each.lengths) for each in (found, wanted)]
    for slot, each, of in ((1, found, rows[0]), (2, wanted, rows[1])):
        cells = of * num_types + each.values[:, 2]
        counts[:, slot] = np.bincount(cells, minlength=len(found) * num_types).reshape(len(found), num_types)
    expected = set(zip(rows[1].tolist(), map(tuple, wanted.values.tolist()), strict=True))
    for row, span in zip(rows[0].tolist(), map(tuple, found.values.tolist()), strict=True):
        counts[row, 0, span[2]] += (row, span) in expected
    return counts


def _widened(counts: np.ndarray, num_types: int) -> np.ndarray:
    return np.pad(counts, ((0, 0), (0, num_types - counts.shape[1])))
