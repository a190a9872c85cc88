"""Two runs on the same rows: means over rows, and the runs' own metrics where the predictions give them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import numpy as np

from runwright.analysis.compare.columns import are_answers, as_predictions, label_names, losses_of, right_of
from runwright.analysis.compare.difference import Difference, all_figures, less_is_better
from runwright.analysis.compare.pairs import SPLITS, Pairs, read_pairs
from runwright.analysis.compare.sides import Side
from runwright.analysis.compare.statistics import (
    bootstrap_difference,
    mcnemar_p,
    paired_bootstrap,
    sign_flip_p,
)
from runwright.analysis.runs.rows import RunRow
from runwright.errors import RunwrightError
from runwright.metric.bootstrap import make_metric
from runwright.predictions import select
from runwright.runs.folder import CONFIG_FILE, read_config
from runwright.types import Metric

PAIRED = "paired bootstrap over rows"


def by_rows(first: Side, second: Side, *, confidence: float) -> tuple[list[Difference], list[str]]:
    """What can be tested of the rows that both predicted, one run on either side, and notes on the rest."""
    folders = first.rows[0].folder, second.rows[0].folder
    assert folders[0] is not None
    assert folders[1] is not None
    found: list[Difference] = []
    notes: list[str] = []
    for split in SPLITS:
        pairs = read_pairs(folders[0], folders[1], split)
        if isinstance(pairs, str):
            notes.append(pairs)
            continue
        if pairs.num_left_out:
            notes.append(f"{pairs.num_left_out:,} rows of the {split} split are in one only and left out")
        found += _of_rows(pairs, first.rows[0], second.rows[0], confidence=confidence)
        tested = {each.figure for each in found}
        found += _of_metrics(pairs, first, second, tested=tested, confidence=confidence)
        tested = {each.figure for each in found}
        recorded = [name for name in all_figures([first]) if name in second.rows[0].metrics]
        own = [name for name in recorded if name.rpartition("/")[0] == split]  # without those of groups
        if untested := [name for name in own if name not in tested]:
            notes.append(f"not tested, for the predictions of both do not give them: {', '.join(untested)}")
    return found, notes


def _of_rows(pairs: Pairs, first: RunRow, second: RunRow, *, confidence: float) -> Iterator[Difference]:
    """Means over rows: the loss, and the share that is right; not where a run recorded something else."""
    share = "exact_match" if are_answers(pairs.records[0]) else "accuracy"
    for name, values_of in (("loss", losses_of), (share, right_of)):
        figure = f"{pairs.split}/{name}"
        of_first, of_second = (values_of(records) for records in pairs.records)
        if of_first is None or of_second is None:
            continue
        values = (of_first, of_second)
        if not all(
            _as_recorded(float(each.mean()), figure, row)
            for each, row in zip(values, (first, second), strict=True)
        ):
            continue
        one, other = (each[places] for each, places in zip(values, pairs.places, strict=True))
        if name == "loss":
            p, p_method = sign_flip_p(other - one), "sign flips"
        else:
            p, p_method = mcnemar_p(int((one > other).sum()), int((other > one).sum())), "McNemar, exact"
        yield Difference(
            figure=figure,
            first=float(one.mean()),
            second=float(other.mean()),
            interval=paired_bootstrap(other - one, confidence=confidence),
            less_is_better=name == "loss",
            method=f"{PAIRED}, {confidence:.0%}",
            n=f"{len(pairs):,} rows",
            p=p,
            p_method=p_method,
        )


def _of_metrics(
    pairs: Pairs, first: Side, second: Side, *, tested: Collection[str], confidence: float
) -> Iterator[Difference]:
    """The runs' own metrics, computed anew for each resample of rows."""
    rows = first.rows[0], second.rows[0]
    wholes = _predictions(pairs, rows)
    if wholes is None:
        return
    one, other = (select(whole, places) for whole, places in zip(wholes, pairs.places, strict=True))
    nodes, others = _metric_nodes(rows[0]), _metric_nodes(rows[1])
    for name, node in nodes.items():
        figure = f"{pairs.split}/{name}"
        is_recorded = all(figure in row.metrics for row in rows)
        if figure in tested or node != others.get(name) or not is_recorded:
            continue
        metric = make_metric(node, key=f"metric.{name}")
        # A metric that needs more than the files have, such as scores of all classes, gives another value.
        if not all(
            _as_recorded(_value(metric, whole), figure, row) for whole, row in zip(wholes, rows, strict=True)
        ):
            continue
        values = _value(metric, one), _value(metric, other)
        if not np.isfinite(values).all():
            continue
        yield Difference(
            figure=figure,
            first=values[0],
            second=values[1],
            interval=bootstrap_difference(
                partial(_second_less_first, metric, one, other),
                values[1] - values[0],
                num_rows=len(pairs),
                confidence=confidence,
            ),
            less_is_better=less_is_better(figure, first),
            method=f"{PAIRED}, {confidence:.0%}",
            n=f"{len(pairs):,} rows",
        )


def _second_less_first(metric: Metric, one: Any, other: Any, weights: np.ndarray) -> np.ndarray:
    return metric(other, weights) - metric(one, weights)


def _predictions(pairs: Pairs, rows: tuple[RunRow, RunRow]) -> list[Any] | None:
    """All that either run predicted, as metrics judge it; None where that cannot be had alike."""
    assert rows[0].folder is not None
    assert rows[1].folder is not None
    labels = label_names(rows[0].folder)
    if labels != label_names(rows[1].folder):
        return None
    found = [as_predictions(records, labels) for records in pairs.records]
    return None if any(each is None for each in found) else found


def _as_recorded(value: float, figure: str, row: RunRow) -> bool:
    """Whether a value of all of a run's rows is what the run recorded, if it recorded any."""
    return math.isfinite(value) and math.isclose(
        value, row.metrics.get(figure, value), rel_tol=1e-6, abs_tol=1e-9
    )


def _value(metric: Metric, predictions: Any) -> float:
    """The metric of all rows; NaN where the predictions have not what it looks at, and for a table."""
    try:
        value = metric(predictions, np.ones((1, len(predictions.example_ids))))[0]
    except (RunwrightError, ValueError, TypeError, IndexError, AttributeError):
        return math.nan
    return float(value) if np.ndim(value) == 0 else math.nan


def _metric_nodes(row: RunRow) -> dict[str, Any]:
    assert row.folder is not None
    return dict(read_config(row.folder / CONFIG_FILE).get("metric") or {})
