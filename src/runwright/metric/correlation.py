"""Correlation between predicted and expected numbers, or between their ranks."""

from __future__ import annotations

import numpy as np

from runwright.metric.means import labels_of, ratio
from runwright.types import Predictions


def pearson(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Linear correlation, from -1 to 1; NaN where either side is constant."""
    pairs = _pairs(predictions)
    if not pairs.shape[1]:
        return np.full(len(weights), np.nan)
    # With mean 0 and largest deviation 1 the correlation is the same, and sums keep their digits: those of
    # the numbers themselves are 8e-4 off beside an outlier of 1e8, and |r| may exceed 1.
    with np.errstate(all="ignore"):
        centred = pairs - pairs.mean(axis=1, keepdims=True)
        # A constant side stays exactly 0 instead of rounding noise.
        centred[pairs.min(axis=1) == pairs.max(axis=1)] = 0.0
        x, y = ratio(centred, np.abs(centred).max(axis=1, keepdims=True), undefined=0.0)
    return _correlation(x, y, weights)


def spearman(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Correlation of ranks, ties sharing their mean rank; NaN where either side is constant."""
    pairs = _pairs(predictions)
    if np.isnan(pairs).any() or not pairs.shape[1]:
        return np.full(len(weights), np.nan)
    x, y = (_centred_ranks(side, weights) for side in pairs)
    return _correlation(x, y, weights)


def _pairs(predictions: Predictions) -> np.ndarray:
    """Predicted and expected as [2, N] float64."""
    return np.stack([predictions.predicted, labels_of(predictions)]).astype(np.float64)


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation [S] of x and y, each [N] or [S, N], roughly centred and within [-1, 1]; weights [S, N]."""
    num_examples = weights.sum(axis=1)

    def mean(values: np.ndarray) -> np.ndarray:
        total = weights @ values if values.ndim == 1 else np.einsum("sn,sn->s", weights, values)
        return total / num_examples

    with np.errstate(all="ignore"):
        mean_x, mean_y = mean(x), mean(y)
        covariance = mean(x * y) - mean_x * mean_y
        variances = [mean(x * x) - mean_x**2, mean(y * y) - mean_y**2]
        # Below 1e-14 of the whole sample's range squared, a resample's spread is rounding noise: constant.
        deviations = [np.sqrt(np.where(variance > 1e-14, variance, 0.0)) for variance in variances]
        return np.clip(ratio(covariance, deviations[0] * deviations[1], undefined=np.nan), -1.0, 1.0)


def _centred_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank of each value when value i occurs weights[s, i] times, scaled to [-1, 1], [S, N]."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    in_group = np.add.reduceat(weights[:, order], starts, axis=1)
    twice_rank = 2 * np.cumsum(in_group, axis=1) - in_group  # minus the number of examples: centred
    num_examples = weights.sum(axis=1, keepdims=True)
    return ((twice_rank - num_examples) / num_examples)[:, group]
