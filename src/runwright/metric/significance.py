"""Tests of a difference: paired ones over the same rows, unpaired ones over runs with several seeds.

Each takes plain arrays and returns plain numbers; the same values give the same result.
"""

import math
from collections.abc import Callable

import numpy as np

from runwright.metric.bootstrap import percentile_interval, resamples
from runwright.types import Interval

CONFIDENCE = 0.95
MAX_RESAMPLES = 10_000
MIN_RESAMPLES = 1_000
_MEAN_CELLS = 20_000_000  # rows times resamples of a mean: about half a second
_METRIC_CELLS = 4_000_000  # of a metric that is no mean
_BLOCK_CELLS = 4_000_000  # resampled positions held at once: 32 MB


def paired_bootstrap(differences: np.ndarray) -> Interval:
    """The mean of [N] differences of the same rows, with its percentile interval over rows.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.3; paired as in Koehn,
    Statistical Significance Tests for Machine Translation Evaluation (2004).
    """
    num_rows, generator = len(differences), np.random.default_rng(0)
    means = [
        differences[generator.integers(num_rows, size=(size, num_rows), dtype=np.int32)].mean(axis=1)
        for size in _block_sizes(_num_resamples(num_rows, _MEAN_CELLS), num_rows)
    ]
    return percentile_interval(float(differences.mean()), means, CONFIDENCE)


def bootstrap_difference(
    difference: Callable[[np.ndarray], np.ndarray], value: float, *, num_rows: int
) -> Interval:
    """The interval of a difference of metrics that are no means, such as F1 or a correlation.

    `difference` returns [S] for how often each row occurs, [S, N]; both runs get the same rows.
    """
    blocks = resamples(num_rows, _num_resamples(num_rows, _METRIC_CELLS), np.random.default_rng(0))
    return percentile_interval(value, [difference(weights) for weights in blocks], CONFIDENCE)


def welch(first: np.ndarray, second: np.ndarray) -> Interval:
    """The interval of the difference of two means, second minus first.

    Welch, The generalization of "Student's" problem when several different population variances are
    involved (1947). Each side has at least two values.
    """
    difference = float(second.mean() - first.mean())
    sizes = np.array([len(first), len(second)])
    variances = np.array([first.var(ddof=1), second.var(ddof=1)]) / sizes
    error = float(np.sqrt(variances.sum()))
    freedom = variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum() if error else 1.0
    return _student(difference, error, freedom)[0]


def paired_t(differences: np.ndarray) -> tuple[Interval, float]:
    """The mean of [N] differences of the same seeds, with its interval and two-sided p (Student 1908)."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return _student(float(differences.mean()), error, len(differences) - 1)


def _student(value: float, error: float, freedom: float) -> tuple[Interval, float]:
    """The interval and two-sided p of a value with this standard error, by Student's distribution."""
    from scipy.special import stdtr, stdtrit  # scipy.stats.ttest_ind warns of nearly equal values

    reach = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(value) / error)) if error else float(value == 0)
    return Interval(value=value, low=value - reach, high=value + reach), p


def _num_resamples(num_rows: int, cells: int) -> int:
    """Enough resamples for the interval, and no more than take a moment."""
    return min(MAX_RESAMPLES, max(MIN_RESAMPLES, cells // max(num_rows, 1)))


def _block_sizes(num_samples: int, num_rows: int) -> list[int]:
    """Numbers of resamples that fit into memory at a time."""
    step = max(1, _BLOCK_CELLS // max(num_rows, 1))
    return [min(step, num_samples - start) for start in range(0, num_samples, step)]
