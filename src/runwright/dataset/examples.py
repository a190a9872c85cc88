"""Examples as Arrow batches: small on disk, and fetched one by one without copying the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runwright.errors import DataError
from runwright.types import Example


class PreparedExamples:
    """Encoded examples of one split, with random access by position; see `types.Examples`."""

    def __init__(self, batches: Sequence[pa.RecordBatch], *, cache_note: str) -> None:
        self._batches = list(batches)
        self.cache_note = cache_note  # where they came from, or why the cache had none
        self._names = batches[0].schema.names
        self._starts = np.cumsum([0, *(len(batch) for batch in batches)])
        self._columns = [[_reader(batch.column(name)) for name in self._names] for batch in batches]
        self._lengths = np.concatenate([_lengths(batch.column("input_ids")) for batch in batches])
        self._widths = self.column("padded_length") if "padded_length" in self._names else self._lengths
        self._example_ids = self.column("example_id") if "example_id" in self._names else np.arange(len(self))

    def column(self, name: str) -> np.ndarray:
        """One number for each example, [N], in the order of positions."""
        return np.concatenate([batch.column(name).to_numpy(zero_copy_only=False) for batch in self._batches])

    @property
    def names(self) -> tuple[str, ...]:
        """What every example holds."""
        return tuple(self._names)

    @property
    def example_ids(self) -> np.ndarray:
        """[N] int64, distinct."""
        return self._example_ids

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, [N] int64: its cost."""
        return self._lengths

    @property
    def widths(self) -> np.ndarray:
        """What each takes of a batch with padding, [N] int64: its `padded_length`, where it has one."""
        return self._widths

    def __len__(self) -> int:
        return int(self._starts[-1])

    def fetch(self, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions, in this order."""
        wanted = np.asarray(positions, dtype=np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions must lie in 0 to {len(self) - 1}")
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        inside = wanted - self._starts[numbers]
        return [
            {name: read(row) for name, read in zip(self._names, self._columns[number], strict=True)}
            for number, row in zip(numbers.tolist(), inside.tolist(), strict=True)
        ]


def example_schema(examples: Sequence[Example]) -> pa.Schema:
    """The schema of the first batch, which the others must fit: whole numbers in lists take 32 bits."""
    fields = []
    for name in examples[0]:
        kind = pa.infer_type([example[name] for example in examples])
        if pa.types.is_list(kind):
            kind = pa.list_(pa.float32() if pa.types.is_floating(kind.value_type) else pa.int32())
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def record_batch(examples: Sequence[Example], schema: pa.Schema) -> pa.RecordBatch:
    """The examples as columns; raises DataError where one does not fit the schema."""
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([example[field.name] for example in examples], field.type))
        except (KeyError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"encoded {field.name!r} is not {field.type} as in the first examples: {error}"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _reader(column: Any) -> Callable[[int], Any]:
    """A function from a row's number to its value as Python has it."""
    if pa.types.is_list(column.type) and not column.null_count:
        values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
        return lambda row: values[offsets[row] : offsets[row + 1]].tolist()
    if (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) and not column.null_count:
        numbers = column.to_numpy()
        return lambda row: numbers[row].item()
    return lambda row: column[row].as_py()


def _lengths(column: Any) -> np.ndarray:
    return np.diff(column.offsets.to_numpy()).astype(np.int64)
