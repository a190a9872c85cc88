"""Paired tests of two runs on the same rows: their recorded predictions, means over rows, and metrics."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runwright.analysis.compare.sides import SPLITS, Difference, Side, less_is_better, metric_names
from runwright.config.options import metric_nodes
from runwright.errors import RunwrightError
from runwright.metric.bootstrap import CONFIDENCE, bootstrap_difference, make_metric, paired_bootstrap
from runwright.metric.means import ratio
from runwright.predictions import Ragged, select
from runwright.runs.folder import CONFIG_FILE, read_config
from runwright.store import read_json
from runwright.task.labels import positive_class
from runwright.types import Interval, Metric, Predictions

Records = Sequence[Mapping[str, Any]]
# Fields of a record that a model wrote; the rest of it is the row.
OUTPUTS = {
    *("predicted", "predicted_tags", "score", "scores", "loss", "loss_count"),
    *("start", "end", "no_answer_margin", "exact", "f1"),
}
MIN_SHARE = 0.5  # of the smaller of both: below, they are other data


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Rows that both runs predicted."""

    split: str
    records: tuple[Records, Records]  # all predictions of either run
    positions: tuple[np.ndarray, np.ndarray]  # [N] int64 each: the same rows among these
    num_left_out: int  # rows that only one has, or has otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """Recorded answers to N questions, or spans or texts of N rows, as their metrics read them."""

    example_ids: np.ndarray  # [N] int64
    losses: np.ndarray | None = None  # [N] float64, sums
    loss_counts: np.ndarray | None = None  # [N] float64, of how many
    answerable: np.ndarray | None = None  # [N] bool
    exact: np.ndarray | None = None  # [N] float64
    f1: np.ndarray | None = None  # [N] float64
    spans: Ragged | None = None  # [N] rows of [S, 3] int64: first character, one past the last, type
    expected_spans: Ragged | None = None  # as `spans`
    predicted: Ragged | np.ndarray | None = None  # [N] rows of [W] int64 tags; [N] object: texts
    expected: Ragged | np.ndarray | None = None  # as `predicted`; of texts lists of references


def read_pairs(one: Path, other: Path, split: str) -> Pairs | str:
    """The rows that both runs predicted, or in words why they cannot be paired."""
    files = [folder / "predictions" / f"{split}.jsonl" for folder in (one, other)]
    if not all(file.is_file() for file in files):
        return f"not both have predictions of the {split} split"
    first, second = ([*map(json.loads, filter(None, file.read_bytes().split(b"\n")))] for file in files)
    heads = [records[0].keys() if records else set() for records in (first, second)]
    columns = sorted((heads[0] & heads[1]) - OUTPUTS)  # one run may record more of a row than the other
    keys = [[json.dumps([row.get(name) for name in columns]) for row in side] for side in (first, second)]
    partners = {key: position for position, key in enumerate(keys[1])}
    pairs = [(n, partners[key]) for n, key in enumerate(keys[0]) if key in partners]
    smaller = min(len(first), len(second))
    if len(pairs) < MIN_SHARE * smaller or not pairs:
        return f"their {split} splits are not the same rows ({len(pairs):,} of {smaller:,} are in both)"
    positions = np.array(pairs, dtype=np.int64).T
    left_out = len(first) + len(second) - 2 * len(pairs)
    rows = positions[0], positions[1]
    return Pairs(split=split, records=(first, second), positions=rows, num_left_out=left_out)


def losses_of(records: Records) -> np.ndarray | None:
    """The loss of each row and how many it is a sum of, [N, 2] float64; None where a row has none."""
    if not all("loss" in record for record in records):
        return None
    return np.array([(record["loss"], record.get("loss_count", 1)) for record in records], dtype=np.float64)


def as_predictions(records: Records, labels: tuple[str, ...]) -> Predictions | Recorded | None:
    """Records in the form that metrics read; None for an unknown kind and without labels."""
    if not all("expected" in record and "predicted" in record for record in records):
        return None
    ids = np.arange(len(records))
    predicted, expected = ([record[key] for record in records] for key in ("predicted", "expected"))
    if all(record.keys() >= {"exact", "f1"} for record in records):  # questions
        return Recorded(
            example_ids=ids,
            answerable=np.array(list(map(bool, expected))),
            exact=np.array([float(record["exact"]) for record in records]),
            f1=np.array([float(record["f1"]) for record in records]),
        )
    several = [value[0] if isinstance(value, list) and value else value for value in predicted]
    if not labels and all(isinstance(value, str) for value in several):  # texts that a model wrote
        losses = losses_of(records)
        references = ([value] if isinstance(value, str) else value for value in expected)
        return Recorded(
            example_ids=ids,
            losses=None if losses is None else losses[:, 0],
            loss_counts=None if losses is None else losses[:, 1],
            predicted=np.fromiter(predicted, dtype=object),
            expected=np.fromiter(references, dtype=object),
        )
    items = [item for value in (*predicted, *expected) if isinstance(value, list) for item in value]
    if any(isinstance(item, Mapping) for item in items):
        types = sorted({span["type"] for span in items})
        columns: dict[str, Any] = {}
        for name, rows in (("spans", predicted), ("expected_spans", expected)):
            spans = [[(s["start"], s["end"], types.index(s["type"])) for s in row] for row in rows]
            columns[name] = Ragged.of(spans, dtype=np.int64, width=3)
        for name in ("predicted", "expected"):
            if all(f"{name}_tags" in record for record in records):
                tags = [list(map(labels.index, record[f"{name}_tags"])) for record in records]
                columns[name] = Ragged.of(tags, dtype=np.int64)
        return Recorded(example_ids=ids, **columns)
    one, other = (_column(values, labels) for values in (predicted, expected))
    if one is None or other is None:
        return None
    # Metrics take the number of classes from the scores; where the file has none of each class, a metric that
    # needs them is NaN.
    scores = np.full((len(ids), len(labels)), np.nan) if one.dtype != np.float64 else None
    if scores is not None and all("scores" in record for record in records):
        scores[:] = [[record["scores"][name] for name in labels] for record in records]
    return Predictions(example_ids=ids, predicted=one, expected=other, scores=scores, losses=None)


def _column(values: list[Any], labels: tuple[str, ...]) -> np.ndarray | None:
    """Numbers, class ids or sets of classes [N, C] bool; None for anything else."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values, dtype=np.float64)
    classes = {name: number for number, name in enumerate(labels)}
    if all(isinstance(value, str) and value in classes for value in values):
        return np.array([classes[value] for value in values], dtype=np.int64)
    if all(isinstance(value, list) and classes.keys() >= set(map(str, value)) for value in values):
        return np.array([[name in value for name in labels] for value in values], dtype=bool)
    return None


PAIRED = f"paired bootstrap over rows, {CONFIDENCE:.0%}"


def compare_rows(first: Side, second: Side) -> tuple[list[Difference], list[str]]:
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
        made = [*_compare_losses(pairs, (first, second)), *_compare_metrics(pairs, (first, second))]
        differences += made
        recorded = [name for name in metric_names([first]) if second.values(name)]
        # without the metrics of groups
        tested = {difference.metric for difference in made}
        if untested := [n for n in recorded if n.rpartition("/")[0] == split and n not in tested]:
            why = "without an interval, or the predictions of both do not give them"
            notes.append(f"not tested, {why}: {', '.join(untested)}")
    return differences, notes


def _compare_losses(pairs: Pairs, sides: tuple[Side, Side]) -> Iterator[Difference]:
    """The mean loss over rows."""
    name = f"{pairs.split}/loss"
    columns = [column for records in pairs.records if (column := losses_of(records)) is not None]
    if len(columns) == 2 and _are_recorded(list(map(_mean, columns)), name, sides):
        one, other = (column[rows] for column, rows in zip(columns, pairs.positions, strict=True))
        yield Difference(
            metric=name,
            first=_mean(one),
            second=_mean(other),
            interval=_difference_of_means(one, other),
            less_is_better=True,
            method=PAIRED,
            n=f"{len(one):,} rows",
        )


def _mean(column: np.ndarray) -> float:
    """Mean of sums [N, 2] with how many each is a sum of."""
    return float(ratio(*column.sum(axis=0), undefined=math.nan))


def _difference_of_means(one: np.ndarray, other: np.ndarray) -> Interval:
    if (one[:, 1] == 1).all() and (other[:, 1] == 1).all():
        return paired_bootstrap(other[:, 0] - one[:, 0])

    def difference(weights: np.ndarray) -> np.ndarray:
        means = [ratio(*(weights @ column).T, undefined=math.nan) for column in (one, other)]
        return means[1] - means[0]

    return bootstrap_difference(difference, _mean(other) - _mean(one), num_rows=len(one))


def _compare_metrics(pairs: Pairs, sides: tuple[Side, Side]) -> Iterator[Difference]:
    """The runs' own metrics, computed anew for each resample of rows."""
    tasks = (read_json(side.folder / "task.json") for side in sides)
    labels, other_labels = (tuple(map(str, task.get("label_names", ()))) for task in tasks)
    wholes: list[Any] = [as_predictions(records, labels) for records in pairs.records]
    if labels != other_labels or any(whole is None for whole in wholes):
        return
    one, other = (select(whole, rows) for whole, rows in zip(wholes, pairs.positions, strict=True))
    configs = [read_config(side.folder / CONFIG_FILE) for side in sides]
    nodes, others = (metric_nodes(config.get("metric")) for config in configs)
    positive = positive_class(configs[0].get("task", {}).get("positive_label"), labels)
    num_rows = len(pairs.positions[0])
    for name, node in nodes.items():
        full_name = f"{pairs.split}/{name}"
        if node != others.get(name) or not node.get("interval", True):
            continue
        metric = make_metric(node, key=f"metric.{name}", positive=positive, label_names=labels)
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
            ),
            less_is_better=less_is_better(full_name, sides[0]),
            method=PAIRED,
            n=f"{num_rows:,} rows",
        )


def _are_recorded(values: list[float], name: str, sides: tuple[Side, Side]) -> bool:
    """Return True if values over all rows are the ones that the runs recorded."""
    recorded = [side.rows[0].metrics.get(name, math.nan) for side in sides]
    return bool(np.isfinite(values).all() and np.allclose(values, recorded, rtol=1e-6, atol=1e-9))


def _evaluate(metric: Metric, predictions: Any) -> float:
    """The metric over all rows; NaN where the predictions lack the columns that it reads, and for a table."""
    try:
        value = metric(predictions, np.ones((1, len(predictions.example_ids))))[0]
    except (RunwrightError, ValueError, TypeError, IndexError, AttributeError):
        return math.nan
    return float(value) if np.ndim(value) == 0 else math.nan
