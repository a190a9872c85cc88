"""Means over examples (errors, perplexity, ranks), correlations, and what other metrics are made of."""

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from runwright.errors import DataError
from runwright.types import PositiveInt, Predictions

LARGEST = 700.0  # exp of more is no float64
# What was computed, by the identity of a column of predictions, which a run asks for several times: for its
# metrics, their intervals and each block of resamples. It goes when the column does.
_COMPUTED: dict[int, dict[Hashable, tuple[Any, Any]]] = {}
T = TypeVar("T")


def computed_once(column: Any, key: Hashable, references: Any, compute: Callable[[], T]) -> T:
    """The result of `compute`, which runs once for the same column, key and references."""
    if id(column) not in _COMPUTED:
        _COMPUTED[id(column)] = {}
        weakref.finalize(column, _COMPUTED.pop, id(column))
    stored = _COMPUTED[id(column)].get(key)
    if stored is None or stored[0]() is not references:  # weak: they may be the column itself
        stored = _COMPUTED[id(column)][key] = weakref.ref(references), compute()
    return stored[1]


def labels_of(predictions: Predictions) -> np.ndarray:
    """The labels of labelled predictions; DataError where there are none."""
    if predictions.expected is None:
        raise DataError("these rows have no labels, so no metric can be computed")
    return predictions.expected


def ratio(numerator: np.ndarray, denominator: np.ndarray, *, undefined: float) -> np.ndarray:
    """Element by element, `undefined` where the denominator is 0; never a warning."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.full(numerator.shape, undefined, dtype=np.float64)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def weighted_mean(values: np.ndarray, weights: np.ndarray, *, sizes: np.ndarray | None = None) -> np.ndarray:
    """Mean [S] of values [N] under each row of weights [S, N]; NaN where all weights are 0.

    sizes [N]: of how many numbers each value is the sum; None: one each.
    """
    with np.errstate(invalid="ignore"):  # 0 * inf is NaN, and that is the answer
        totals = weights.sum(axis=1) if sizes is None else weights @ sizes.astype(np.float64)
        return ratio(weights @ values.astype(np.float64), totals, undefined=np.nan)


def mean_squared_error(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Mean of (predicted - expected) squared."""
    return weighted_mean(_errors(predictions) ** 2, weights)


def mean_absolute_error(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Mean of |predicted - expected|, in the unit of the label."""
    return weighted_mean(np.abs(_errors(predictions)), weights)


def _errors(predictions: Predictions) -> np.ndarray:
    with np.errstate(all="ignore"):  # inf - inf is NaN, and that is the answer
        return predictions.predicted.astype(np.float64) - labels_of(predictions).astype(np.float64)


def perplexity(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """The exponential, of at most 700, of the mean loss of all tokens in nats; never a mean of means."""
    means = weighted_mean(predictions.losses, weights, sizes=predictions.loss_counts)
    return np.exp(np.minimum(means, LARGEST))


def bits_per_byte(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """The loss of all tokens in bits over the bytes of their texts: on one scale for all tokenizers."""
    return weighted_mean(predictions.losses / np.log(2), weights, sizes=predictions.num_bytes)


def token_accuracy(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """Share of the tokens that the model puts first."""
    return weighted_mean(predictions.num_right, weights, sizes=predictions.loss_counts)


def next_sentence_accuracy(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """Share of the pairs of texts that are told from those of strange texts."""
    return weighted_mean(predictions.next_right, weights)


# `ranks` [N] int64: of the one right text in a list of results, from 1. Beyond the first `k` it counts 0.


def reciprocal_rank(predictions: Any, weights: np.ndarray, *, k: PositiveInt) -> np.ndarray:
    """Mean of 1 / rank (MRR@k)."""
    return weighted_mean(np.where(predictions.ranks <= k, 1.0 / predictions.ranks, 0.0), weights)


def discounted_gain(predictions: Any, weights: np.ndarray, *, k: PositiveInt) -> np.ndarray:
    """Normalised discounted cumulative gain (nDCG@k; Järvelin and Kekäläinen 2002), one text being right."""
    gains = 1.0 / np.log2(1.0 + predictions.ranks)
    return weighted_mean(np.where(predictions.ranks <= k, gains, 0.0), weights)


def recall_at(predictions: Any, weights: np.ndarray, *, k: PositiveInt) -> np.ndarray:
    """Share of the queries whose text is among the first `k` results (recall@k)."""
    return weighted_mean(predictions.ranks <= k, weights)


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
