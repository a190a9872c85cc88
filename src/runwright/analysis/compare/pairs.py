"""Predictions of two runs on the same rows, held against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# What a model says, and how well; the rest of a record is the row.
OUTPUTS = {"predicted", "score", "scores", "loss", "start", "end", "no_answer_margin", "exact", "f1"}
SPLITS = ("test", "validation")  # where a verdict is sought, in this order
MIN_SHARE = 0.5  # of the smaller of both: below, they are other data


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Rows that both runs were asked about."""

    split: str
    records: tuple[list[dict[str, Any]], list[dict[str, Any]]]  # of either run, all that it predicted
    places: tuple[np.ndarray, np.ndarray]  # [N] int64 each, where the same rows are among these
    num_left_out: int  # rows that only one has, or has otherwise

    def __len__(self) -> int:
        return len(self.places[0])


def read_pairs(one: Path, other: Path, split: str) -> Pairs | str:
    """The rows that both runs predicted, or in words why they cannot be paired."""
    files = [folder / "predictions" / f"{split}.jsonl" for folder in (one, other)]
    if not all(file.is_file() for file in files):
        return f"not both have predictions of the {split} split"
    columns = _shared_columns(*files)
    records = list(_records(files[0])), list(_records(files[1]))
    known = {_identity(record, columns): place for place, record in enumerate(records[1])}
    partners = [known.get(_identity(record, columns)) for record in records[0]]
    places = [(place, partner) for place, partner in enumerate(partners) if partner is not None]
    smaller = min(map(len, records))
    if len(places) < MIN_SHARE * smaller or not places:
        return f"their {split} splits are not the same rows ({len(places):,} of {smaller:,} are in both)"
    first, second = np.array(places, dtype=np.int64).T
    num_left_out = sum(map(len, records)) - 2 * len(places)
    return Pairs(split=split, records=records, places=(first, second), num_left_out=num_left_out)


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
