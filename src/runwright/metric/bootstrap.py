"""Metrics made from their configuration, and confidence intervals: of metrics, and of differences.

Differences of runs are paired over the same rows, or unpaired over several seeds. The same values always give
the same interval.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from runwright.config.targets import instantiate, positional
from runwright.errors import ConfigError
from runwright.predictions import select
from runwright.types import Interval, Metric

logger = logging.getLogger(__name__)
_warn = lru_cache(maxsize=64)(logger.warning)  # each text once

CONFIDENCE = 0.95  # of all intervals
_CELLS = 4_000_000  # resamples times examples held at once: 32 MB in float64
MAX_RESAMPLES, MIN_RESAMPLES = 10_000, 1_000  # of a difference
_MEAN_CELLS = 20_000_000  # rows times resamples of a mean: about half a second


class UndefinedMetricError(ConfigError):
    """A metric cannot be computed from some examples, though it can from others."""


def make_metric(
    node: Mapping[str, Any], *, key: str, positive: int = 1, label_names: tuple[str, ...] = ()
) -> Metric:
    """The metric that a node describes; `positive` is the class that metrics of one class of two are of.

    A function of predictions alone is called for each row of weights, each example as often as it counts.
    """
    function = instantiate(node, group="metric", key=key)
    if positive == 0 and node.get("average") == "binary":
        return partial(_call_for_class_0, function)
    objects = positional(function)
    if "label_names" in objects:
        function = partial(function, label_names=label_names)
    return function if "weights" in objects else partial(_call_for_each_row, function)


def _call_for_each_row(function: Callable[[Any], Any], predictions: Any, weights: np.ndarray) -> np.ndarray:
    values, positions = [], np.arange(weights.shape[1])
    for row in weights.astype(np.int64):
        sample = predictions if (row == 1).all() else select(predictions, positions.repeat(row))
        try:
            values.append(function(sample))
        except UndefinedMetricError as error:
            values.append(math.nan)
            _warn("%s; the metric is NaN there", str(error))
    return np.array(values)


def _call_for_class_0(function: Metric, predictions: Any, weights: np.ndarray) -> np.ndarray:
    classes = {name: 1 - getattr(predictions, name) for name in ("predicted", "expected")}
    return function(replace(predictions, **classes, scores=predictions.scores[:, ::-1]), weights)


def bootstrap_interval(metric: Metric, predictions: Any, *, num_samples: int = 1000, seed: int) -> Interval:
    """The value with its percentile bootstrap interval over examples (Efron 1979)."""
    num_examples = len(predictions.example_ids)
    value = float(metric(predictions, np.ones((1, num_examples)))[0])
    most = max(200, 10**9 // max(num_examples, 1))  # fewer than 1,000 beyond a million examples
    blocks = resamples(num_examples, min(num_samples, most), np.random.default_rng(seed))
    return percentile_interval(value, [metric(predictions, weights) for weights in blocks])


def resamples(num_examples: int, num_samples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Blocks of resamples: how often each example occurs in each, [S, N] float64."""
    if not num_examples:
        return
    for size in _block_sizes(num_samples, num_examples):
        draws = generator.integers(num_examples, size=(size, num_examples))
        yield np.array([np.bincount(row, minlength=num_examples) for row in draws], dtype=np.float64)


def percentile_interval(value: float, blocks: Sequence[np.ndarray]) -> Interval:
    """The middle share CONFIDENCE of resampled values, without undefined ones; NaN where none is left."""
    values = np.concatenate([np.empty(0), *blocks])
    values, tail = values[~np.isnan(values)], (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) if len(values) else (math.nan, math.nan)
    return Interval(value=value, low=float(low), high=float(high))


# --- differences ------------------------------------------------------------------------------------------


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
    return percentile_interval(float(differences.mean()), means)


def bootstrap_difference(
    difference: Callable[[np.ndarray], np.ndarray], value: float, *, num_rows: int
) -> Interval:
    """The interval of a difference of metrics that are no means, such as F1 or a correlation.

    `difference` returns [S] for how often each row occurs, [S, N]; both runs get the same rows.
    """
    blocks = resamples(num_rows, _num_resamples(num_rows, _CELLS), np.random.default_rng(0))
    return percentile_interval(value, [difference(weights) for weights in blocks])


def welch(first: np.ndarray, second: np.ndarray) -> Interval:
    """The interval of the difference of two means, second minus first.

    Welch, The generalization of "Student's" problem when several different population variances are
    involved (1947). Each side has at least two values.
    """
    sizes = np.array([len(first), len(second)])
    variances = np.array([first.var(ddof=1), second.var(ddof=1)]) / sizes
    error = float(np.sqrt(variances.sum()))
    freedom = variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum() if error else 1.0
    return _student(float(second.mean() - first.mean()), error, freedom)[0]


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
    step = max(1, _CELLS // max(num_rows, 1))
    return [min(step, num_samples - start) for start in range(0, num_samples, step)]
