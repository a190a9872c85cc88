"""How often each class was expected, predicted and right: all that precision, recall, F1 and Matthews need.

Counts add up, so any way of cutting and merging gives the same figure to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from runwright.errors import DataError
from runwright.types import Predictions


def expected_of(predictions: Predictions) -> np.ndarray:
    """The labels of labelled predictions; DataError where there are none."""
    if predictions.expected is None:
        raise DataError("these rows have no labels, so no metric can be computed")
    return predictions.expected


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCounts:
    """Counts by class, [..., C] each; leading axes are resamples, if any."""

    matched: np.ndarray  # expected and predicted
    predicted: np.ndarray
    expected: np.ndarray
    num_examples: np.ndarray  # [...]


def count_classes(predictions: Predictions, counts: np.ndarray | None = None) -> ClassCounts:
    """Class counts of all examples, or one set for each row of `counts` [S, N]: how often each occurs.

    For multi-label examples a class is expected or predicted where its column is true.
    """
    expected, predicted = expected_of(predictions), predictions.predicted
    if counts is None:
        counts = np.ones((1, len(predicted)))
        whole = _count_rows(expected, predicted, _num_classes(predictions), counts)
        return ClassCounts(
            matched=whole.matched[0].astype(np.int64),
            predicted=whole.predicted[0].astype(np.int64),
            expected=whole.expected[0].astype(np.int64),
            num_examples=np.asarray(len(predicted)),
        )
    return _count_rows(expected, predicted, _num_classes(predictions), counts)


def _num_classes(predictions: Predictions) -> int:
    if predictions.scores is not None and predictions.scores.ndim == 2:
        return predictions.scores.shape[1]
    if predictions.predicted.ndim == 2:
        return predictions.predicted.shape[1]
    labels = np.concatenate([predictions.predicted, expected_of(predictions)])
    return int(labels.max()) + 1 if len(labels) else 0


def _count_rows(
    expected: np.ndarray, predicted: np.ndarray, num_classes: int, counts: np.ndarray
) -> ClassCounts:
    weights = counts.astype(np.float64, copy=False)  # whole numbers below 2**53: exact
    if predicted.ndim == 2:
        return ClassCounts(
            matched=weights @ (expected & predicted).astype(np.float64),
            predicted=weights @ predicted.astype(np.float64),
            expected=weights @ expected.astype(np.float64),
            num_examples=weights.sum(axis=1),
        )
    right = expected == predicted

    def tally(classes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        rows = [np.bincount(classes, weights=row, minlength=num_classes) for row in chosen]
        return np.array(rows).reshape(len(chosen), -1)

    return ClassCounts(
        matched=tally(expected[right], weights[:, right]),
        predicted=tally(predicted, weights),
        expected=tally(expected, weights),
        num_examples=weights.sum(axis=1),
    )


def _add(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sum of two count vectors, where the shorter one has not met the last classes."""
    size = max(len(one), len(other))
    return np.pad(one, (0, size - len(one))) + np.pad(other, (0, size - len(other)))


class ClassCountMetric(ABC):
    """A figure that is a function of class counts."""

    def __init__(self) -> None:
        nothing = np.zeros(0, dtype=np.int64)
        self._counts = ClassCounts(
            matched=nothing, predicted=nothing, expected=nothing, num_examples=np.asarray(0)
        )

    @abstractmethod
    def figure(self, counts: ClassCounts) -> np.ndarray:
        """The figure of each set of counts, [...]; NaN where it is undefined."""

    def check(self, predictions: Predictions) -> None:  # noqa: B027 - most figures judge anything
        """Raise where these predictions cannot be judged by this figure."""

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        self.check(predictions)
        self._take_in(count_classes(predictions))

    def merge(self, other: ClassCountMetric) -> None:
        """Take in what another instance has seen."""
        self._take_in(other._counts)

    def compute(self) -> float:
        """The figure so far."""
        return float(self.figure(self._counts))

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]: the fast way of the bootstrap."""
        self.check(predictions)
        return self.figure(count_classes(predictions, counts))

    def _take_in(self, more: ClassCounts) -> None:
        mine = self._counts
        self._counts = ClassCounts(
            matched=_add(mine.matched, more.matched),
            predicted=_add(mine.predicted, more.predicted),
            expected=_add(mine.expected, more.expected),
            num_examples=mine.num_examples + more.num_examples,
        )


def ratio(numerator: np.ndarray, denominator: np.ndarray, *, undefined: float) -> np.ndarray:
    """Element by element, `undefined` where the denominator is 0; never a warning."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.full(numerator.shape, undefined, dtype=np.float64)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)
