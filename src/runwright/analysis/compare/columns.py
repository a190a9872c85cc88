"""Recorded predictions as columns: the loss and rightness of each row, and what metrics judge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runwright.predictions import Ragged
from runwright.types import Predictions

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What is recorded of answers to N questions, or of spans of N rows, as their metrics read it."""

    example_ids: np.ndarray  # [N] int64
    answerable: np.ndarray | None = None  # [N] bool
    exact: np.ndarray | None = None  # [N] float64
    f1: np.ndarray | None = None  # [N] float64
    spans: Ragged | None = None  # [N] rows of [S, 3] int64: first character, one past the last, type
    expected_spans: Ragged | None = None  # as `spans`; tags of words are not recorded


def losses_of(records: Records) -> np.ndarray | None:
    """The loss of each row, [N] float64; None where a row has none."""
    if not all("loss" in record for record in records):
        return None
    return np.array([float(record["loss"]) for record in records])


def right_of(records: Records) -> np.ndarray | None:
    """1 for each row that is wholly right, else 0, [N] float64; None for numbers and without labels."""
    if not all("expected" in record and "predicted" in record for record in records):
        return None
    if any(isinstance(record["expected"], float) for record in records):
        return None
    if are_answers(records):
        return np.array([float(record["exact"]) for record in records])
    return np.array([float(_unscored(record["predicted"]) == record["expected"]) for record in records])


def are_answers(records: Records) -> bool:
    """Whether questions were answered: one text each, judged by several, with `exact` and `f1` of its own."""
    return all(record.keys() >= {"predicted", "expected", "exact", "f1"} for record in records) and all(
        isinstance(record["predicted"], str) and isinstance(record["expected"], list) for record in records
    )


def as_predictions(records: Records, labels: tuple[str, ...]) -> Predictions | Recorded | None:
    """Records in the form that metrics judge; None where they are of no known kind or have no labels."""
    if not all("expected" in record and "predicted" in record for record in records):
        return None
    ids = np.arange(len(records))
    if are_answers(records):
        return Recorded(
            example_ids=ids,
            answerable=np.array([bool(record["expected"]) for record in records]),
            exact=np.array([float(record["exact"]) for record in records]),
            f1=np.array([float(record["f1"]) for record in records]),
        )
    predicted, expected = ([record[key] for record in records] for key in ("predicted", "expected"))
    if any(isinstance(each, Mapping) for value in (*predicted, *expected) for each in _listed(value)):
        return _as_spans(ids, predicted, expected)
    columns = [_column(values, labels) for values in (predicted, expected)]
    if columns[0] is None or columns[1] is None:
        return None
    # Metrics take the number of classes from the scores; those of each class are not in the file, so a
    # metric that needs them is NaN.
    scores = np.full((len(ids), len(labels)), np.nan) if columns[0].dtype != np.float64 else None
    return Predictions(example_ids=ids, predicted=columns[0], expected=columns[1], scores=scores, losses=None)


def label_names(folder: Path) -> tuple[str, ...]:
    """The classes of a run in their order, as its task learned them."""
    try:
        state = json.loads((folder / "task.json").read_bytes())
    except (OSError, ValueError):
        return ()
    names = state.get("label_names", ()) if isinstance(state, Mapping) else ()
    return tuple(map(str, names))


def _as_spans(ids: np.ndarray, predicted: list[Any], expected: list[Any]) -> Recorded:
    types = sorted({span["type"] for spans in (*predicted, *expected) for span in spans})
    places = {name: place for place, name in enumerate(types)}

    def column(rows: list[Any]) -> Ragged:
        found = [[(span["start"], span["end"], places[span["type"]]) for span in row] for row in rows]
        return Ragged.of(found, dtype=np.int64, width=3)

    return Recorded(example_ids=ids, spans=column(predicted), expected_spans=column(expected))


def _unscored(value: Any) -> Any:
    """A prediction as labels are written: spans without their scores."""
    return (
        [
            {key: part for key, part in each.items() if key != "score"} if isinstance(each, Mapping) else each
            for each in value
        ]
        if isinstance(value, list)
        else value
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _column(values: list[Any], labels: tuple[str, ...]) -> np.ndarray | None:
    places = {name: place for place, name in enumerate(labels)}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values, dtype=np.float64)
    if all(isinstance(value, str) and value in places for value in values):
        return np.array([places[value] for value in values], dtype=np.int64)
    if all(isinstance(value, list) and places.keys() >= set(map(str, value)) for value in values):
        chosen = np.zeros((len(values), len(labels)), dtype=bool)
        for row, names in enumerate(values):
            chosen[row, [places[name] for name in names]] = True
        return chosen
    return None
