"""Paired tests of two runs on the same rows: means over rows, and the metrics of their configuration."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import numpy as np

from runwright.analysis.compare.pairs import (
    Pairs,
    are_answers,
    as_predictions,
    correctness_of,
    label_names,
    losses_of,
    read_pairs,
)
from runwright.analysis.compare.sides import SPLITS, Difference, Side, less_is_better, metric_names
from runwright.analysis.compare.statistics import (
    bootstrap_difference,
    mcnemar_p,
    paired_bootstrap,
    sign_flip_p,
)
from runwright.errors import RunwrightError
from runwright.metric.bootstrap import make_metric
from runwright.metric.means import ratio
from runwright.predictions import select
from runwright.runs.folder import CONFIG_FILE, read_config
from runwright.task.labels import positive_class
from runwright.types import Interval, Metric

PAIRED = "paired bootstrap over rows"


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
        differences += _compare_means(pairs, (first, second), confidence=confidence)
        tested = {difference.metric for difference in differences}
        differences += _compare_metrics(pairs, (first, second), tested=tested, confidence=confidence)
        tested = {difference.metric for difference in differences}
        recorded = [name for name in metric_names([first]) if second.values(name)]
        # without the metrics of groups
        untested = [name for name in recorded if name.rpartition("/")[0] == split and name not in tested]
        if untested:
            notes.append(f"not tested, for the predictions of both do not give them: {', '.join(untested)}")
    return differences, notes


def _compare_means(pairs: Pairs, sides: tuple[Side, Side], *, confidence: float) -> Iterator[Difference]:
    """Means over rows: the loss, and the share that is right; not where a run recorded another value."""
    share = "exact_match" if are_answers(pairs.records[0]) else "accuracy"
    right = partial(correctness_of, labels=label_names(sides[0].folder))
    for name, values_of in (("loss", losses_of), (share, right)):
        columns = [column for records in pairs.records if (column := values_of(records)) is not None]
        if len(columns) < 2 or not _are_recorded(list(map(_mean, columns)), f"{pairs.split}/{name}", sides):
            continue
        one, other = (column[rows] for column, rows in zip(columns, pairs.positions, strict=True))
        differences = other[:, 0] - one[:, 0]
        p, p_method = None, ""
        if name != "loss":
            p, p_method = (
                mcnemar_p(int((differences < 0).sum()), int((differences > 0).sum())),
                "McNemar, exact",
            )
        elif np.array_equal(one[:, 1], other[:, 1]):
            p, p_method = sign_flip_p(differences), "sign flips"
        yield Difference(
            metric=f"{pairs.split}/{name}",
            first=_mean(one),
            second=_mean(other),
            interval=_difference_of_means(one, other, confidence=confidence),
            less_is_better=name == "loss",
            method=f"{PAIRED}, {confidence:.0%}",
            n=f"{len(one):,} rows",
            p=p,
            p_method=p_method,
        )


def _mean(column: np.ndarray) -> float:
    """Mean of sums [N, 2] with how many each is a sum of."""
    return float(ratio(*column.sum(axis=0), undefined=math.nan))


def _difference_of_means(one: np.ndarray, other: np.ndarray, *, confidence: float) -> Interval:
    if (one[:, 1] == 1).all() and (other[:, 1] == 1).all():
        return paired_bootstrap(other[:, 0] - one[:, 0], confidence=confidence)

    def difference(weights: np.ndarray) -> np.ndarray:
        means = [ratio(*(weights @ column).T, undefined=math.nan) for column in (one, other)]
        return means[1] - means[0]

    value = _mean(other) - _mean(one)
    return bootstrap_difference(difference, value, num_rows=len(one), confidence=confidence)


def _compare_metrics(
    pairs: Pairs, sides: tuple[Side, Side], *, tested: Collection[str], confidence: float
) -> Iterator[Difference]:
    """The runs' own metrics, computed anew for each resample of rows."""
    labels, other_labels = (label_names(side.folder) for side in sides)
    wholes: list[Any] = [as_predictions(records, labels) for records in pairs.records]
    if labels != other_labels or any(whole is None for whole in wholes):
        return
    one, other = (select(whole, rows) for whole, rows in zip(wholes, pairs.positions, strict=True))
    configs = [read_config(side.folder / CONFIG_FILE) for side in sides]
    nodes, others = (dict(config.get("metric") or {}) for config in configs)
    positive = positive_class(configs[0].get("task", {}).get("positive_label"), labels)
    num_rows = len(pairs.positions[0])
    for name, node in nodes.items():
        full_name = f"{pairs.split}/{name}"
        is_recorded = all(side.values(full_name) for side in sides)
        if full_name in tested or node != others.get(name) or not is_recorded:
            continue
        metric = make_metric(node, key=f"metric.{name}", positive=positive)
        # A metric that needs more than the files have, such as scores of all classes, gives another value.
        if not _are_recorded([_evaluate(metric, whole) for whole in wholes], full_name, sides):
            continue
        values = _evaluate(metric, one), _evaluate(metric, other)
        if not np.isfinite(values).all():
            continue
        yield Difference(
            metric=full_name,
            first=values[0],
            second=values[1],
            interval=bootstrap_difference(
                lambda weights, metric=metric: metric(other, weights) - metric(one, weights),
                values[1] - values[0],
                num_rows=num_rows,
                confidence=confidence,
            ),
            less_is_better=less_is_better(full_name, sides[0]),
            method=f"{PAIRED}, {confidence:.0%}",
            n=f"{num_rows:,} rows",
        )


def _are_recorded(values: list[float], name: str, sides: tuple[Side, Side]) -> bool:
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
