"""Examples encoded when they are wanted, from any place of a stream of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from datasets import Dataset

from runwright.dataset.checks import Kind, naming_rows, require_columns
from runwright.dataset.examples import PreparedExamples, example_schema, record_batch
from runwright.dataset.readers.streams import BLOCK_ROWS, Block, Place, RowStream
from runwright.types import Example


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedStream:
    """The examples of a stream of rows; `inputs_of` and `encode` are the task's."""

    rows: RowStream
    kinds: Mapping[str, Kind]  # of the columns that must be there
    inputs_of: Callable[[Dataset], Dataset]
    encode: Callable[[dict[str, list[Any]]], list[Example]]

    @property
    def fingerprint(self) -> str:
        """Tells other data."""
        return self.rows.fingerprint

    def open(self, place: Mapping[str, int] | None) -> Cursor:
        """Examples from a place on; None: from the start."""
        return Cursor(self, Place(**place) if place else Place())

    def encoded(self, rows: Dataset) -> pa.RecordBatch | None:
        """The examples of some rows; raises DataError naming file, row and column."""
        split = self.rows.split
        if not len(rows):
            return None
        with naming_rows({split: rows}):
            require_columns({split: rows}, self.kinds, whole=False)
            inputs: Any = self.inputs_of(rows).with_format(None)
            examples = self.encode(inputs[:])
        return record_batch(examples, example_schema(examples)) if examples else None


class Cursor:
    """Where one reader of a stream has got to."""

    def __init__(self, stream: EncodedStream, place: Place) -> None:
        self._stream = stream
        self._place = place
        self._size = 0
        self._blocks: Iterator[Block] = stream.rows.blocks(place, iter(lambda: self._size, 0))

    @property
    def place(self) -> dict[str, int]:
        """Of the next row, for JSON."""
        return self._place._asdict()

    def read(self, num_rows: int, *, is_cancelled: Callable[[], bool]) -> tuple[int, PreparedExamples | None]:
        """How many rows were read, fewer only at the end, and their examples, if there are any.

        They are read and encoded in blocks of at most 1,000 rows; a cancelled reading ends after a block.
        """
        batches: list[pa.RecordBatch] = []
        left = num_rows
        while left and not is_cancelled():
            self._size = min(left, BLOCK_ROWS)
            block = next(self._blocks, None)
            if block is None:
                break
            batch = self._stream.encoded(block.rows)
            batches += [] if batch is None else [batch]
            left -= block.num_read
            self._place = block.place
        examples = PreparedExamples(batches, cache_note="from a stream") if batches else None
        return num_rows - left, examples
