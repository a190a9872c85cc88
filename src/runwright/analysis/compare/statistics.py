"""Tests of a difference: paired ones over the same rows, unpaired ones over runs with several seeds.

Each takes plain arrays and gives plain numbers; tests hold them against scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np

from runwright.metric.bootstrap import percentile_interval, resamples
from runwright.types import Interval

MAX_RESAMPLES = 10_000
MIN_RESAMPLES = 1_000
_ALL_CELLS = 20_000_000  # rows times resamples of a mean: about half a second
_METRIC_CELLS = 4_000_000  # of a metric that is no mean
_CELLS = 4_000_000  # resampled positions held at once: 32 MB


def paired_bootstrap(differences: np.ndarray, *, confidence: float, seed: int = 0) -> Interval:
    """The mean of [N] differences of the same rows, with its percentile interval over rows.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.3; paired as in Koehn,
    Statistical Significance Tests for Machine Translation Evaluation (2004).
    """
    num_rows = len(differences)
    generator = np.random.default_rng(seed)
    num_samples = _affordable(num_rows, _ALL_CELLS)
    means = [
        differences[generator.integers(num_rows, size=(size, num_rows), dtype=np.int32)].mean(axis=1)
        for size in _pieces(num_samples, num_rows)
    ]
    return percentile_interval(float(differences.mean()), means, confidence)


def bootstrap_difference(
    difference: Callable[[np.ndarray], np.ndarray],
    value: float,
    *,
    num_rows: int,
    confidence: float,
    seed: int = 0,
) -> Interval:
    """The interval of a difference of metrics that are no means, such as F1 or a correlation.

    `difference` gives [S] for how often each row occurs, [S, N]: both runs get the same rows.
    """
    num_samples = _affordable(num_rows, _METRIC_CELLS)
    blocks = resamples(num_rows, num_samples, np.random.default_rng(seed))
    return percentile_interval(value, [difference(weights) for weights in blocks], confidence)


def sign_flip_p(differences: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of the mean of [N] paired differences, by flipping their signs at random.

    Fisher's randomisation test for pairs; Noreen, Computer-Intensive Methods (1989). Exact up to 13 rows.
    """
    values = differences[differences != 0]
    if not len(values):
        return 1.0
    observed = abs(float(values.sum()))
    if len(values) <= 13:
        signs = 1 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
        return float((np.abs(signs @ values) >= observed * (1 - 1e-12)).mean())
    generator = np.random.default_rng(seed)
    num_samples = _affordable(len(values), _ALL_CELLS)
    extreme = 0
    for size in _pieces(num_samples, len(values)):
        signs = generator.integers(2, size=(size, len(values)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ values) >= observed * (1 - 1e-12)).sum())
    return (extreme + 1) / (num_samples + 1)  # never 0: Phipson and Smyth (2010)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact p that it is chance which of two runs has right what only one has (McNemar 1947)."""
    total = only_first + only_second
    if not total:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, total).pvalue)


def welch(first: np.ndarray, second: np.ndarray, *, confidence: float) -> tuple[Interval, float]:
    """The difference of two means, second minus first, with its interval and two-sided p.

    Welch, The generalization of "Student's" problem when several different population variances are
    involved (1947). Each side has at least two values.
    """
    from scipy.special import stdtr, stdtrit

    difference = float(second.mean() - first.mean())
    parts = [float(side.var(ddof=1)) / len(side) for side in (first, second)]
    variance = sum(parts)
    if variance == 0:
        interval = Interval(value=difference, low=difference, high=difference)
        return interval, 1.0 if difference == 0 else 0.0
    sizes = len(first), len(second)
    freedom = variance**2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    error = math.sqrt(variance)
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Interval(value=difference, low=difference - reach, high=difference + reach), p


def permutation_p(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of the difference of two means, by dealing the values anew to the two sides.

    Pitman (1937); all deals where there are at most 10,000 of them, else as many random ones.
    """
    values, size = np.concatenate([first, second]), len(first)
    observed = abs(float(second.mean() - first.mean())) * (1 - 1e-12)
    if math.comb(len(values), size) <= MAX_RESAMPLES:
        chosen = np.array(list(combinations(range(len(values)), size)))
        return float((np.abs(_difference(values, chosen)) >= observed).mean())
    generator = np.random.default_rng(seed)
    deals = generator.permuted(np.tile(np.arange(len(values)), (MAX_RESAMPLES, 1)), axis=1)[:, :size]
    extreme = int((np.abs(_difference(values, deals)) >= observed).sum())
    return (extreme + 1) / (MAX_RESAMPLES + 1)


def _difference(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean of the others minus mean of the chosen ones, for each row of positions."""
    sums = values[chosen].sum(axis=1)
    size = chosen.shape[1]
    return (values.sum() - sums) / (len(values) - size) - sums / size


def _affordable(num_rows: int, cells: int) -> int:
    """How many resamples: enough for the interval, and no more than take a moment."""
    return min(MAX_RESAMPLES, max(MIN_RESAMPLES, cells // max(num_rows, 1)))


def _pieces(num_samples: int, num_rows: int) -> list[int]:
    """How many resamples at a time, so that they fit."""
    step = max(1, _CELLS // max(num_rows, 1))
    return [min(step, num_samples - start) for start in range(0, num_samples, step)]
