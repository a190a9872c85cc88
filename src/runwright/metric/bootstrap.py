"""Metrics made from their configuration, and confidence intervals by resampling the examples."""

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

_CELLS = 4_000_000  # resamples times examples held at once: 32 MB in float64


class UndefinedMetricError(ConfigError):
    """A metric cannot be computed from some examples, though it can from others."""


def make_metric(
    node: Mapping[str, Any], *, key: str, positive: int = 1, label_names: tuple[str, ...] = ()
) -> Metric:
    """The metric that a node describes; `positive` is the class that metrics of one class of two are of.

    A function of predictions alone is called once for each row of weights, with each example as often as it
    counts.
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
            _warn(f"{error}; the metric is NaN there")
    return np.array(values)


@lru_cache(maxsize=64)  # each text once
def _warn(text: str) -> None:
    logger.warning("%s", text)


def _call_for_class_0(function: Metric, predictions: Any, weights: np.ndarray) -> np.ndarray:
    classes = {name: 1 - getattr(predictions, name) for name in ("predicted", "expected")}
    return function(replace(predictions, **classes, scores=predictions.scores[:, ::-1]), weights)


def bootstrap_interval(
    metric: Metric, predictions: Any, *, num_samples: int = 1000, confidence: float = 0.95, seed: int
) -> Interval:
    """The value with its percentile bootstrap interval over examples (Efron 1979).

    The same seed gives the same interval.
    """
    num_examples = len(predictions.example_ids)
    value = float(metric(predictions, np.ones((1, num_examples)))[0])
    blocks = resamples(num_examples, num_samples, np.random.default_rng(seed))
    return percentile_interval(value, [metric(predictions, weights) for weights in blocks], confidence)


def resamples(num_examples: int, num_samples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Blocks of resamples: how often each example occurs in each, [S, N] float64."""
    if not num_examples:
        return
    rows = max(1, _CELLS // num_examples)
    for start in range(0, num_samples, rows):
        shape = min(rows, num_samples - start), num_examples
        positions = generator.integers(num_examples, size=shape)
        cells = positions + np.arange(shape[0])[:, None] * num_examples
        yield np.bincount(cells.ravel(), minlength=math.prod(shape)).reshape(shape).astype(np.float64)


def percentile_interval(value: float, blocks: Sequence[np.ndarray], confidence: float) -> Interval:
    """The middle share `confidence` of resampled values, without undefined ones; NaN where none is left."""
    values = np.concatenate([np.empty(0), *blocks])
    values, tail = values[~np.isnan(values)], (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) if len(values) else (math.nan, math.nan)
    return Interval(value=value, low=float(low), high=float(high))
