"""Correlation between predicted and expected numbers, or between their ranks."""

from __future__ import annotations

import numpy as np

from runwright.metric.class_counts import expected_of, ratio
from runwright.types import Predictions


class Pearson:
    """Linear correlation, from -1 to 1; NaN where either side is constant.

    Means and centred second moments in float64, merged as in Chan, Golub and LeVeque (1979), so that a
    large mean does not eat the digits. Any grouping agrees to about 1e-12.
    """

    suits = ("regression", "similarity")

    def __init__(self) -> None:
        self._num_examples = 0
        self._mean = np.zeros(2)  # predicted, expected
        self._moments = np.zeros((2, 2))  # sums of products of deviations
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        pairs = _pairs(predictions)
        if not pairs.shape[1]:
            return
        with np.errstate(all="ignore"):
            mean = pairs.mean(axis=1)
            centred = pairs - mean[:, None]
            moments = centred @ centred.T
        self._take_in(pairs.shape[1], mean, moments, pairs.min(axis=1), pairs.max(axis=1))

    def merge(self, other: Pearson) -> None:
        """Take in what another instance has seen."""
        if other._num_examples:
            self._take_in(other._num_examples, other._mean, other._moments, other._low, other._high)

    def compute(self) -> float:
        """The correlation so far."""
        # Whether a side is constant is asked of its bounds: rounding leaves a spread of about 1e-32.
        if self._num_examples < 2 or not (self._low < self._high).all():
            return float("nan")
        return float(_correlation(self._moments[0, 1], self._moments[0, 0], self._moments[1, 1]))

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        x, y = _standardised(_pairs(predictions))
        return _weighted_pearson(x, y, counts)

    def _take_in(
        self, num_examples: int, mean: np.ndarray, moments: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> None:
        total = self._num_examples + num_examples
        with np.errstate(all="ignore"):
            shift = mean - self._mean
            self._moments = (
                self._moments + moments + np.outer(shift, shift) * (self._num_examples * num_examples / total)
            )
            self._mean = self._mean + shift * (num_examples / total)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._num_examples = total


class Spearman:
    """Correlation of ranks, ties sharing their mean rank; NaN where either side is constant.

    Ranks need all the numbers: this keeps two float64 for each example.
    """

    suits = ("regression", "similarity")

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []  # [2, n] each

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        self._parts.append(_pairs(predictions).copy())

    def merge(self, other: Spearman) -> None:
        """Take in what another instance has seen."""
        self._parts.extend(other._parts)

    def compute(self) -> float:
        """The rank correlation so far."""
        pairs = np.concatenate([np.zeros((2, 0)), *self._parts], axis=1)
        pairs = pairs[:, np.lexsort(pairs)]  # one order whatever the grouping: same sums, same bits
        return float(_rank_correlation(pairs, np.ones((1, pairs.shape[1])))[0])

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        return _rank_correlation(_pairs(predictions), counts)


def _pairs(predictions: Predictions) -> np.ndarray:
    """Predicted and expected as [2, N] float64."""
    return np.stack([predictions.predicted, expected_of(predictions)]).astype(np.float64)


def _correlation(covariance: np.ndarray, variance: np.ndarray, other_variance: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        spread = np.sqrt(variance) * np.sqrt(other_variance)
        return np.clip(ratio(covariance, spread, undefined=np.nan), -1.0, 1.0)


def _standardised(pairs: np.ndarray) -> np.ndarray:
    """Both sides with mean 0 and largest deviation 1: correlation is the same, and sums keep their digits."""
    if not pairs.shape[1]:
        return pairs
    with np.errstate(all="ignore"):
        centred = pairs - pairs.mean(axis=1, keepdims=True)
        # A constant side stays exactly 0 instead of rounding noise.
        centred[pairs.min(axis=1) == pairs.max(axis=1)] = 0.0
        return ratio(centred, np.abs(centred).max(axis=1, keepdims=True), undefined=0.0)


def _weighted_pearson(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Correlation [S] of x and y, each [N] or [S, N] and roughly centred, under weights [S, N]."""
    counts = counts.astype(np.float64, copy=False)

    def total(values: np.ndarray) -> np.ndarray:
        return counts @ values if values.ndim == 1 else np.einsum("sn,sn->s", counts, values)

    num_examples = counts.sum(axis=1)
    with np.errstate(all="ignore"):
        mean_x, mean_y = total(x) / num_examples, total(y) / num_examples
        covariance = total(x * y) / num_examples - mean_x * mean_y
        variances = [total(v * v) / num_examples - mean**2 for v, mean in ((x, mean_x), (y, mean_y))]
    # Below 1e-14 of the whole sample's range squared, a resample's spread is rounding noise: constant.
    variances = [np.where(variance > 1e-14, variance, 0.0) for variance in variances]
    return _correlation(covariance, *variances)


def _rank_correlation(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's coefficient [S] under weights [S, N]."""
    if np.isnan(pairs).any() or not pairs.shape[1]:
        return np.full(len(counts), np.nan)
    x, y = (_centred_ranks(side, counts) for side in pairs)
    return _weighted_pearson(x, y, counts)


def _centred_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean rank of each value when value i occurs counts[s, i] times, scaled to [-1, 1], [S, N]."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    in_group = np.add.reduceat(counts[:, order].astype(np.float64), starts, axis=1)
    twice_rank = 2 * np.cumsum(in_group, axis=1) - in_group  # minus the number of examples: centred
    num_examples = counts.sum(axis=1, keepdims=True).astype(np.float64)
    return ((twice_rank - num_examples) / num_examples)[:, group]
