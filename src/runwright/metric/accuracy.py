"""Share of right answers: by example, or by single label of multi-label examples."""

from __future__ import annotations

import numpy as np

from runwright.metric.class_counts import expected_of, ratio
from runwright.types import Predictions


class Accuracy:
    """Share of examples that are wholly right.

    For multi-label examples that is subset accuracy: every label of the example must be right. See
    LabelAccuracy for the share of single labels.
    """

    suits = ("single_label", "multi_label")

    def __init__(self) -> None:
        self._num_right = 0
        self._num_examples = 0

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        right = _right(predictions)
        self._num_right += int(right.sum())
        self._num_examples += len(right)

    def merge(self, other: Accuracy) -> None:
        """Take in what another instance has seen."""
        self._num_right += other._num_right
        self._num_examples += other._num_examples

    def compute(self) -> float:
        """From 0 to 1; NaN for no example."""
        return self._num_right / self._num_examples if self._num_examples else float("nan")

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        return ratio(counts @ _right(predictions).astype(np.float64), counts.sum(axis=1), undefined=np.nan)


class LabelAccuracy:
    """Share of single yes/no labels that are right, over all examples and classes.

    Where most labels are "no", as in most multi-label data, this is near 1 for a model that says nothing.
    """

    suits = ("multi_label",)

    def __init__(self) -> None:
        self._num_right = 0
        self._num_labels = 0

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        right = expected_of(predictions) == predictions.predicted
        self._num_right += int(right.sum())
        self._num_labels += right.size

    def merge(self, other: LabelAccuracy) -> None:
        """Take in what another instance has seen."""
        self._num_right += other._num_right
        self._num_labels += other._num_labels

    def compute(self) -> float:
        """From 0 to 1; NaN for no example."""
        return self._num_right / self._num_labels if self._num_labels else float("nan")

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        right = expected_of(predictions) == predictions.predicted
        num_labels = counts.sum(axis=1) * right.shape[1]
        return ratio(counts @ right.sum(axis=1).astype(np.float64), num_labels, undefined=np.nan)


def _right(predictions: Predictions) -> np.ndarray:
    """Which examples are wholly right, [N] bool."""
    right = expected_of(predictions) == predictions.predicted
    return right.all(axis=1) if right.ndim == 2 else right
