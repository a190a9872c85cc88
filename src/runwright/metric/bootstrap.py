"""Confidence intervals by resampling the examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from runwright.errors import ConfigError
from runwright.predictions import select
from runwright.types import Interval, Metric

_CELLS = 4_000_000  # resampled positions held at once: 32 MB in int64


@runtime_checkable
class Resampled(Protocol):
    """A metric that can judge many resamples at once; any other is fed each resample in turn."""

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure [S] for each row of `counts` [S, N], how often each example occurs."""
        ...


def bootstrap_interval(
    make: Callable[[], Metric],
    predictions: Any,
    *,
    num_samples: int = 1000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """The figure with its percentile bootstrap interval over examples (Efron 1979).

    `make` gives a fresh metric. Resamples where the figure is undefined are left out; low and high are
    NaN where none is left. The same seed gives the same interval.
    """
    if num_samples < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"bootstrap needs num_samples >= 1 and 0 < confidence < 1, got {num_samples} and {confidence}"
        )
    metric = make()
    metric.update(predictions)
    value = metric.compute()
    if isinstance(value, np.ndarray):
        raise ConfigError(f"{type(metric).__name__} gives a table, which has no confidence interval")
    figures = _resample(make, predictions, num_samples, np.random.default_rng(seed))
    figures = figures[~np.isnan(figures)]
    if not len(figures):
        return Interval(value=value, low=float("nan"), high=float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(figures, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))


def _resample(
    make: Callable[[], Metric], predictions: Any, num_samples: int, generator: np.random.Generator
) -> np.ndarray:
    num_examples = len(predictions.example_ids)
    if not num_examples:
        return np.full(num_samples, np.nan)
    rows = max(1, _CELLS // num_examples)
    figures = []
    for start in range(0, num_samples, rows):
        size = (min(rows, num_samples - start), num_examples)
        positions = generator.integers(num_examples, size=size)
        metric = make()
        if isinstance(metric, Resampled):
            figures.append(metric.compute_resampled(predictions, _occurrences(positions)))
        else:
            figures.append(np.array([_figure(make(), select(predictions, row)) for row in positions]))
    return np.concatenate(figures)


def _occurrences(positions: np.ndarray) -> np.ndarray:
    """How often each example occurs in each row, [S, N] float64."""
    num_samples, num_examples = positions.shape
    cells = positions + np.arange(num_samples)[:, None] * num_examples
    counts = np.bincount(cells.ravel(), minlength=num_samples * num_examples)
    return counts.reshape(num_samples, num_examples).astype(np.float64)


def _figure(metric: Metric, predictions: Any) -> float:
    metric.update(predictions)
    return float(metric.compute())
