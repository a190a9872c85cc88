"""Paired tests of two runs on the same rows: means over rows, and the metrics of their configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from runwright.analysis.compare.pairs import (
    Pairs,
    Recorded,
    are_answers,
    as_predictions,
    correctness_of,
    label_names,
    losses_of,
    read_pairs,
)
from runwright.analysis.compare.sides import SPLITS, Difference, Side, less_is_better, metric_names
from runwright.errors import RunwrightError
from runwright.metric.bootstrap import make_metric, percentile_interval, resamples
from runwright.predictions import select
from runwright.runs.folder import CONFIG_FILE, read_config
from runwright.types import Interval, Metric

MAX_RESAMPLES = 10_000
MIN_RESAMPLES = 1_000
CELLS = 4_000_000  # rows times resamples: no more than take a moment
Sides = tuple[Side, Side]


def compare_rows(first: Side, second: Side, *, confidence: float) -> tuple[list[Difference], list[str]]:
    """Tests over the rows that both runs predicted, one run on either side, and notes on the rest."""
    differences: list[Difference] = []
    notes: list[str] = []
    for split in SPLITS:
        pairs = read_pairs(first.folder, second.folder, split)
        if isinstance(pairs, str):
            notes.append(pairs)
            continue
        if pairs.num_left_out:
            notes.append(f"{pairs.num_left_out:,} rows of the {split} split are in one only and left out")
        differences += _compare_pairs(pairs, (first, second), confidence=confidence)
        tested = {difference.metric for difference in differences}
        recorded = [name for name in metric_names([first]) if second.values(name)]
        # without the metrics of groups
        untested = [name for name in recorded if name.rpartition("/")[0] == split and name not in tested]
        if untested:
            notes.append(f"not tested, for the predictions of both do not give them: {', '.join(untested)}")
    return differences, notes


def _compare_pairs(pairs: Pairs, sides: Sides, *, confidence: float) -> Iterator[Difference]:
    """The difference of each metric, computed anew for each resample of rows."""
    num_rows = len(pairs.positions[0])
    tested: set[str] = set()
    for name, metric, wholes in _metrics_of(pairs, sides):
        full_name = f"{pairs.split}/{name}"
        # A metric that needs more than the files have, such as scores of all classes, gives another value.
        if full_name in tested or not _are_recorded([_evaluate(metric, w) for w in wholes], full_name, sides):
            continue
        one, other = (select(whole, rows) for whole, rows in zip(wholes, pairs.positions, strict=True))
        values = _evaluate(metric, one), _evaluate(metric, other)
        if not np.isfinite(values).all():
            continue
        tested.add(full_name)
        p = None
        if metric is _mean and name != "loss":  # ones and zeros
            p = mcnemar_p(int((one.values > other.values).sum()), int((other.values > one.values).sum()))
        yield Difference(
            metric=full_name,
            first=values[0],
            second=values[1],
            interval=bootstrap_difference(
                lambda weights, metric=metric, one=one, other=other: (
                    metric(other, weights) - metric(one, weights)
                ),
                values[1] - values[0],
                num_rows=num_rows,
                confidence=confidence,
            ),
            less_is_better=less_is_better(full_name, sides[0]),
            method=f"paired bootstrap over rows, {confidence:.0%}",
            n=f"{num_rows:,} rows",
            p=p,
            p_method="" if p is None else "McNemar, exact",
        )


def bootstrap_difference(
    difference: Callable[[np.ndarray], np.ndarray], value: float, *, num_rows: int, confidence: float
) -> Interval:
    """The percentile interval of a difference of metrics of the same rows.

    `difference` returns [S] for how often each row occurs, [S, N]; both runs get the same rows. Efron and
    Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.3; paired as in Koehn, Statistical
    Significance Tests for Machine Translation Evaluation (2004).
    """
    num_samples = min(MAX_RESAMPLES, max(MIN_RESAMPLES, CELLS // max(num_rows, 1)))
    blocks = resamples(num_rows, num_samples, np.random.default_rng(0))
    return percentile_interval(value, [difference(weights) for weights in blocks], confidence)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact p of the rows that only one of two runs has right (McNemar 1947)."""
    from scipy.stats import binomtest

    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


def _metrics_of(pairs: Pairs, sides: Sides) -> Iterator[tuple[str, Metric, list[Any]]]:
    """Names and functions of the metrics to test, with all predictions of either run as they read them.

    The loss and the share of rows that are right, then the metrics that both runs recorded.
    """
    share = "exact_match" if are_answers(pairs.records[0]) else "accuracy"
    for name, values_of in (("loss", losses_of), (share, correctness_of)):
        columns = [column for records in pairs.records if (column := values_of(records)) is not None]
        if len(columns) == 2:
            yield name, _mean, [Recorded(example_ids=np.arange(len(c)), values=c) for c in columns]
    labels, other_labels = (label_names(side.folder) for side in sides)
    wholes: list[Any] = [as_predictions(records, labels) for records in pairs.records]
    if labels != other_labels or any(whole is None for whole in wholes):
        return
    nodes, others = (dict(read_config(side.folder / CONFIG_FILE).get("metric") or {}) for side in sides)
    for name, node in nodes.items():
        if node == others.get(name) and all(side.values(f"{pairs.split}/{name}") for side in sides):
            yield name, make_metric(node, key=f"metric.{name}"), wholes


def _mean(recorded: Recorded, weights: np.ndarray) -> np.ndarray:
    return weights @ recorded.values / weights.sum(axis=1)


def _are_recorded(values: list[float], name: str, sides: Sides) -> bool:
    """Return True if values over all rows are the ones that the runs recorded, where they recorded any."""
    recorded = [side.rows[0].metrics.get(name, value) for value, side in zip(values, sides, strict=True)]
    return all(
        math.isfinite(value) and math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-9)
        for value, expected in zip(values, recorded, strict=True)
    )


def _evaluate(metric: Metric, predictions: Any) -> float:
    """The metric over all rows; NaN where the predictions lack the columns that it reads, and for a table."""
    try:
        value = metric(predictions, np.ones((1, len(predictions.example_ids))))[0]
    except (RunwrightError, ValueError, TypeError, IndexError, AttributeError):
        return math.nan
    return float(value) if np.ndim(value) == 0 else math.nan
