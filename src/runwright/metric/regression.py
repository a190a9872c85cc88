"""How far predicted numbers are from the expected ones."""

from __future__ import annotations

import numpy as np

from runwright.metric.class_counts import expected_of, ratio
from runwright.types import Predictions


class MeanSquaredError:
    """Mean of (predicted - expected) squared."""

    suits = ("regression", "similarity")

    def __init__(self) -> None:
        self._sum = 0.0
        self._num_examples = 0

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        self._sum += float((_differences(predictions) ** 2).sum())
        self._num_examples += len(predictions.predicted)

    def merge(self, other: MeanSquaredError) -> None:
        """Take in what another instance has seen."""
        self._sum += other._sum
        self._num_examples += other._num_examples

    def compute(self) -> float:
        """NaN for no example."""
        return self._sum / self._num_examples if self._num_examples else float("nan")

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        return ratio(counts @ _differences(predictions) ** 2, counts.sum(axis=1), undefined=np.nan)


class MeanAbsoluteError:
    """Mean of |predicted - expected|, in the unit of the label."""

    suits = ("regression", "similarity")

    def __init__(self) -> None:
        self._sum = 0.0
        self._num_examples = 0

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        self._sum += float(np.abs(_differences(predictions)).sum())
        self._num_examples += len(predictions.predicted)

    def merge(self, other: MeanAbsoluteError) -> None:
        """Take in what another instance has seen."""
        self._sum += other._sum
        self._num_examples += other._num_examples

    def compute(self) -> float:
        """NaN for no example."""
        return self._sum / self._num_examples if self._num_examples else float("nan")

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        return ratio(counts @ np.abs(_differences(predictions)), counts.sum(axis=1), undefined=np.nan)


def _differences(predictions: Predictions) -> np.ndarray:
    with np.errstate(all="ignore"):  # inf - inf is NaN, and that is the answer
        return predictions.predicted.astype(np.float64) - expected_of(predictions).astype(np.float64)
