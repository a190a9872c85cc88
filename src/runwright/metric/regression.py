"""Mean errors of predicted numbers."""

from __future__ import annotations

import numpy as np

from runwright.metric.weighted import labels_of, weighted_mean
from runwright.types import Predictions


def mean_squared_error(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Mean of (predicted - expected) squared."""
    return weighted_mean(_errors(predictions) ** 2, weights)


def mean_absolute_error(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Mean of |predicted - expected|, in the unit of the label."""
    return weighted_mean(np.abs(_errors(predictions)), weights)


def _errors(predictions: Predictions) -> np.ndarray:
    with np.errstate(all="ignore"):  # inf - inf is NaN, and that is the answer
        return predictions.predicted.astype(np.float64) - labels_of(predictions).astype(np.float64)
