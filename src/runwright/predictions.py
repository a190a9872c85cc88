"""What is said of N examples, as columns: chosen, joined, and sent between processes without pickling.

A record of predictions is a frozen dataclass whose fields are arrays, `Ragged` columns or None, each with one
entry for every example; `example_ids` [N] int64 is one of them. Each task has the record that suits it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from runwright.types import PerExample

P = TypeVar("P", bound=PerExample)


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Columns of every record, labelled where it has `expected` or, without such a column, losses."""

    example_ids: np.ndarray  # [N] int64
    losses: np.ndarray | None = None  # [N] float64, the sum of the losses of each example
    loss_counts: np.ndarray | None = None  # [N] float64, how many losses each is a sum of; None: one each
    groups: np.ndarray | None = None  # [N] int64, the slice of the data each belongs to

    @property
    def labelled(self) -> bool:
        """Whether there is anything to compare with."""
        known: Any = self
        return (known.expected if hasattr(known, "expected") else known.losses) is not None


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: [sum of lengths, …] values, and the length of each row [N] int64."""

    values: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Any], *, dtype: Any, width: int | None = None) -> Ragged:
        """From one sequence for each row, of numbers or with a width of so many numbers each."""
        shape = (-1,) if width is None else (-1, width)
        arrays = [np.asarray(row, dtype=dtype).reshape(shape) for row in rows]
        values = np.concatenate(arrays) if arrays else np.empty((0, *shape[1:]), dtype=dtype)
        return cls(values, np.array([len(row) for row in arrays], dtype=np.int64))

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each row begins in `values`, [N] int64."""
        return np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, place: int) -> np.ndarray:
        """The values of one row."""
        start = int(self.starts[place])
        return self.values[start : start + int(self.lengths[place])]

    def rows(self) -> list[np.ndarray]:
        """The values of each row."""
        return np.split(self.values, np.cumsum(self.lengths)[:-1]) if len(self) else []

    def joined(self, firsts: np.ndarray) -> Ragged:
        """Rows that follow one another as one: `firsts` are the first row of each, rising, from 0."""
        return Ragged(self.values, np.add.reduceat(self.lengths, firsts))

    def __getitem__(self, chosen: np.ndarray) -> Ragged:
        """The chosen rows: a mask [N] bool, or positions."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else np.asarray(chosen, dtype=np.int64)
        lengths = self.lengths[places]
        inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged(self.values[np.repeat(self.starts[places], lengths) + inside], lengths)


def columns_of(predictions: PerExample) -> dict[str, Any]:
    """The columns that are there, by name."""
    found = {field.name: getattr(predictions, field.name) for field in fields(predictions)}
    return {name: column for name, column in found.items() if column is not None}


def select(predictions: P, chosen: np.ndarray) -> P:
    """The chosen examples: a mask [N] bool, or positions, of which one may come again."""
    columns = {field.name: getattr(predictions, field.name) for field in fields(predictions)}
    return type(predictions)(
        **{name: None if column is None else column[chosen] for name, column in columns.items()}
    )


def join(parts: Sequence[P]) -> P:
    """All parts as one, in the order of example ids."""
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])}
    whole = type(parts[0])(**{name: _concatenated(pieces) for name, pieces in columns.items()})
    return select(whole, np.argsort(whole.example_ids, kind="stable"))


def pack(predictions: PerExample) -> bytes:
    """Predictions as the bytes of an .npz archive."""
    arrays: dict[str, np.ndarray] = {}
    for name, column in columns_of(predictions).items():
        if isinstance(column, Ragged):
            arrays |= {f"{name}.values": column.values, f"{name}.lengths": column.lengths}
        else:
            arrays[name] = column
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(kind: type[P], data: bytes) -> P:
    """What `pack` was given, as a record of that kind."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        columns: dict[str, Any] = {}
        for field in fields(kind):
            if f"{field.name}.values" in archive:
                values, lengths = archive[f"{field.name}.values"], archive[f"{field.name}.lengths"]
                columns[field.name] = Ragged(values, lengths)
            else:
                columns[field.name] = archive.get(field.name)
        return kind(**columns)


def _concatenated(columns: Sequence[Any]) -> Any:
    if columns[0] is None:
        return None
    if isinstance(columns[0], Ragged):
        return Ragged(
            np.concatenate([column.values for column in columns]),
            np.concatenate([column.lengths for column in columns]),
        )
    return np.concatenate(columns)
