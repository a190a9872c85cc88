"""Predictions of two runs on the same rows, as columns that can be held against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runwright.types import Predictions

OUTPUTS = {"predicted", "score", "scores", "loss"}  # what a model says; the rest of a record is the row
SPLITS = ("test", "validation")  # where a verdict is sought, in this order
MIN_SHARE = 0.5  # of the smaller of both: below, they are other data


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Rows that both runs were asked about, in the same order."""

    split: str
    first: list[dict[str, Any]]
    second: list[dict[str, Any]]
    num_left_out: int  # rows of the first that the second has not, or has otherwise

    def __len__(self) -> int:
        return len(self.first)

    def losses(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The loss of each row, [N] float64 each; None where a row has none."""
        found = _numbers(self.first, "loss"), _numbers(self.second, "loss")
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    def right(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Whether each row is wholly right, [N] bool each; None for numbers and where labels are missing."""
        if not all("expected" in each and "predicted" in each for each in (*self.first, *self.second)):
            return None
        if any(isinstance(each["expected"], float) for each in self.first):
            return None
        found = [
            np.array([each["predicted"] == each["expected"] for each in side])
            for side in (self.first, self.second)
        ]
        return found[0], found[1]


def read_pairs(one: Path, other: Path, split: str) -> Pairs | str:
    """The rows that both runs predicted, or in words why they cannot be paired."""
    files = [folder / "predictions" / f"{split}.jsonl" for folder in (one, other)]
    if not all(file.is_file() for file in files):
        return f"not both have predictions of the {split} split"
    columns = _shared_columns(*files)
    known = {_identity(record, columns): record for record in _records(files[1])}
    first, second, num_left_out = [], [], 0
    for record in _records(files[0]):
        partner = known.get(_identity(record, columns))
        if partner is None:
            num_left_out += 1
        else:
            first.append(record)
            second.append(partner)
    smaller = min(len(known), len(first) + num_left_out)
    if len(first) < MIN_SHARE * smaller or not first:
        return f"their {split} splits are not the same rows ({len(first):,} of {smaller:,} are in both)"
    num_left_out += len(known) - len(first)
    return Pairs(split=split, first=first, second=second, num_left_out=num_left_out)


def as_predictions(records: list[dict[str, Any]], labels: tuple[str, ...]) -> Predictions | None:
    """Records in the form that metrics judge; None where they are neither classes nor numbers."""
    try:
        predicted, expected = ([record[key] for record in records] for key in ("predicted", "expected"))
    except KeyError:
        return None
    ids = np.arange(len(records))
    columns = [_column(values, labels) for values in (predicted, expected)]
    if any(column is None for column in columns):
        return None
    # Metrics take the number of classes from the scores; those of each class are not in the file.
    scores = np.zeros((len(ids), len(labels))) if columns[0].dtype != np.float64 else None  # type: ignore[union-attr]
    return Predictions(
        example_ids=ids,
        predicted=columns[0],  # type: ignore[arg-type]
        expected=columns[1],
        scores=scores,
        losses=None,
    )


def label_names(folder: Path) -> tuple[str, ...]:
    """The classes of a run in their order, as its task learned them."""
    try:
        state = json.loads((folder / "task.json").read_bytes())
    except (OSError, ValueError):
        return ()
    names = state.get("label_names", ()) if isinstance(state, Mapping) else ()
    return tuple(map(str, names))


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


def _numbers(records: list[dict[str, Any]], key: str) -> np.ndarray | None:
    if not all(key in record for record in records):
        return None
    return np.array([float(record[key]) for record in records])


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as stream:
        yield from (json.loads(line) for line in stream if line.strip())


def _shared_columns(one: Path, other: Path) -> list[str]:
    """What both files say of a row itself; one run may show more of it than the other."""
    first, second = (next(_records(file), {}) for file in (one, other))
    return sorted(first.keys() & second.keys() - OUTPUTS)


def _identity(record: Mapping[str, Any], columns: list[str]) -> str:
    """The row itself: its number, its texts, its label; equal only where both runs were asked the same."""
    return json.dumps([record.get(column) for column in columns], ensure_ascii=False)
