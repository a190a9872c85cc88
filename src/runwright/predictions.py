"""Columns of predictions for N examples: selected, joined, and sent between processes without pickling."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from runwright.types import PerExample

P = TypeVar("P", bound=PerExample)


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
        """Position in `values` of the first value of each row, [N] int64."""
        return np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, index: int) -> np.ndarray:
        start = int(self.starts[index])
        return self.values[start : start + int(self.lengths[index])]

    def rows(self) -> list[np.ndarray]:
        return np.split(self.values, np.cumsum(self.lengths)[:-1]) if len(self) else []

    def joined(self, firsts: np.ndarray) -> Ragged:
        """Rows that follow one another as one: `firsts` are the first row of each, rising, from 0."""
        return Ragged(self.values, np.add.reduceat(self.lengths, firsts))

    def __getitem__(self, index: np.ndarray) -> Ragged:
        """Some of the rows: a mask [N] bool, or positions."""
        positions = np.flatnonzero(index) if index.dtype == bool else np.asarray(index, dtype=np.int64)
        lengths = self.lengths[positions]
        inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged(self.values[np.repeat(self.starts[positions], lengths) + inside], lengths)


def evenly_spaced(total: int, most: int) -> np.ndarray:
    """At most so many of `total` positions, from the first to the last, rising, int64."""
    return np.linspace(0, total - 1, min(most, total)).astype(np.int64)


def columns_of(predictions: PerExample) -> dict[str, Any]:
    """The columns that are not None, by name."""
    columns = {field.name: getattr(predictions, field.name) for field in fields(predictions)}
    return {name: column for name, column in columns.items() if column is not None}


def select(predictions: P, index: np.ndarray) -> P:
    """Some of the examples: a mask [N] bool, or positions, of which one may come again."""
    return replace(predictions, **{name: column[index] for name, column in columns_of(predictions).items()})


def join(batches: Sequence[P]) -> P:
    """The predictions of all batches, in the order of example ids."""

    def concatenated(columns: Sequence[Any]) -> Any:
        if not isinstance(columns[0], Ragged):
            return np.concatenate(columns)
        values, lengths = ([getattr(column, name) for column in columns] for name in ("values", "lengths"))
        return Ragged(np.concatenate(values), np.concatenate(lengths))

    columns = {name: [getattr(batch, name) for batch in batches] for name in columns_of(batches[0])}
    order = np.argsort(np.concatenate(columns["example_ids"]), kind="stable")
    # One column after the other, so that memory never holds all of them twice.
    return replace(batches[0], **{name: concatenated(parts)[order] for name, parts in columns.items()})


def pack(predictions: PerExample, **arrays: np.ndarray) -> bytes:
    """Predictions, and more arrays, as the bytes of an .npz archive."""
    for name, column in columns_of(predictions).items():
        if isinstance(column, Ragged):
            arrays |= {f"{name}.values": column.values, f"{name}.lengths": column.lengths}
        else:
            arrays[name] = column
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(kind: type[P], data: bytes) -> P:
    """The predictions that `pack` was called with, as a record of that kind."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        columns: dict[str, Any] = {}
        for field in fields(kind):
            if f"{field.name}.values" in archive:
                values, lengths = archive[f"{field.name}.values"], archive[f"{field.name}.lengths"]
                columns[field.name] = Ragged(values, lengths)
            else:
                columns[field.name] = archive.get(field.name)
        return kind(**columns)
