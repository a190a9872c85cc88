"""Recorded predictions of two runs on the same rows, in the form that metrics read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runwright.predictions import Ragged
from runwright.report.page.records import read_json
from runwright.types import Predictions

Records = Sequence[Mapping[str, Any]]
# Fields of a record that a model wrote; the rest of it is the row.
OUTPUTS = {"predicted", "score", "scores", "loss", "loss_count", "start", "end", "no_answer_margin"}
OUTPUTS |= {"exact", "f1", "predicted_tags"}
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
    first, second = (
        [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()] for file in files
    )
    heads = [records[0].keys() if records else set() for records in (first, second)]
    columns = sorted((heads[0] & heads[1]) - OUTPUTS)  # one run may record more of a row than the other

    def identity(record: Mapping[str, Any]) -> str:
        return json.dumps([record.get(column) for column in columns], ensure_ascii=False)

    partners = {identity(record): position for position, record in enumerate(second)}
    pairs = [(n, partners[key]) for n, record in enumerate(first) if (key := identity(record)) in partners]
    smaller = min(len(first), len(second))
    if len(pairs) < MIN_SHARE * smaller or not pairs:
        return f"their {split} splits are not the same rows ({len(pairs):,} of {smaller:,} are in both)"
    positions = np.array(pairs, dtype=np.int64).T
    return Pairs(
        split=split,
        records=(first, second),
        positions=(positions[0], positions[1]),
        num_left_out=len(first) + len(second) - 2 * len(pairs),
    )


def losses_of(records: Records) -> np.ndarray | None:
    """The loss of each row and how many it is a sum of, [N, 2] float64; None where a row has none."""
    if not all("loss" in record for record in records):
        return None
    return np.array([(record["loss"], record.get("loss_count", 1)) for record in records], dtype=np.float64)


def correctness_of(records: Records, labels: tuple[str, ...]) -> np.ndarray | None:
    """1 for each row that is wholly right, else 0, and 1, [N, 2] float64 as of `losses_of`.

    None for numbers, for texts, many of which may be right, and without labels.
    """
    if not _are_labelled(records) or any(isinstance(record["expected"], float) for record in records):
        return None
    if _are_texts(records, labels):
        return None
    if are_answers(records):
        return np.array([(record["exact"], 1) for record in records], dtype=np.float64)
    right = [_unscored(record["predicted"]) == record["expected"] for record in records]
    return np.array([(is_right, 1) for is_right in right], dtype=np.float64)


def _are_labelled(records: Records) -> bool:
    return all("expected" in record and "predicted" in record for record in records)


def are_answers(records: Records) -> bool:
    """Return True for questions with one predicted text, several right ones, and `exact` and `f1`."""
    return all(record.keys() >= {"predicted", "expected", "exact", "f1"} for record in records) and all(
        isinstance(record["predicted"], str) and isinstance(record["expected"], list) for record in records
    )


def _are_texts(records: Records, labels: tuple[str, ...]) -> bool:
    """Return True for texts that a model wrote, one or several a row."""
    predicted = [record["predicted"] for record in records]
    predicted = [value[0] if isinstance(value, list) and value else value for value in predicted]
    return not labels and not are_answers(records) and all(isinstance(value, str) for value in predicted)


def _unscored(value: Any) -> Any:
    """A prediction as labels are written: spans without their scores."""
    if not isinstance(value, list):
        return value
    return [
        {key: entry for key, entry in item.items() if key != "score"} if isinstance(item, Mapping) else item
        for item in value
    ]


def label_names(folder: Path) -> tuple[str, ...]:
    """The classes of a run in their order, as its task learned them."""
    return tuple(map(str, read_json(folder / "task.json").get("label_names", ())))


def as_predictions(records: Records, labels: tuple[str, ...]) -> Predictions | Recorded | None:
    """Records in the form that metrics read; None for an unknown kind and without labels."""
    if not _are_labelled(records):
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
    if _are_texts(records, labels):
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
        types = {name: number for number, name in enumerate(sorted({span["type"] for span in items}))}
        spans, expected_spans = (
            Ragged.of(
                [[(span["start"], span["end"], types[span["type"]]) for span in row] for row in rows],
                dtype=np.int64,
                width=3,
            )
            for rows in (predicted, expected)
        )
        numbers = {name: number for number, name in enumerate(labels)}
        tags: dict[str, Any] = {
            name: Ragged.of([[numbers[tag] for tag in record[key]] for record in records], dtype=np.int64)
            for name, key in (("predicted", "predicted_tags"), ("expected", "expected_tags"))
            if all(key in record for record in records)
        }
        return Recorded(example_ids=ids, spans=spans, expected_spans=expected_spans, **tags)
    columns = [_column(values, labels) for values in (predicted, expected)]
    if columns[0] is None or columns[1] is None:
        return None
    # Metrics take the number of classes from the scores; those of each class are not in the file, so a
    # metric that needs them is NaN.
    scores = np.full((len(ids), len(labels)), np.nan) if columns[0].dtype != np.float64 else None
    return Predictions(example_ids=ids, predicted=columns[0], expected=columns[1], scores=scores, losses=None)


def _column(values: list[Any], labels: tuple[str, ...]) -> np.ndarray | None:
    """Numbers, class ids or sets of classes [N, C] bool; None for anything else."""
    classes = {name: number for number, name in enumerate(labels)}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values, dtype=np.float64)
    if all(isinstance(value, str) and value in classes for value in values):
        return np.array([classes[value] for value in values], dtype=np.int64)
    if all(isinstance(value, list) and classes.keys() >= set(map(str, value)) for value in values):
        return np.array([[name in value for name in labels] for value in values], dtype=bool)
    return None
