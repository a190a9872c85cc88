"""Rows that are read when they are wanted: a stream of files, from any place in it, in blocks of rows.

A place is four whole numbers; reading from it gives the rows that reading from the start gives after it. So a
checkpoint needs no rows, and going on costs the same wherever that is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
from datasets import Dataset, DatasetInfo
from datasets.table import InMemoryTable

from runwright import store
from runwright.dataset.cleaning.passes import renamed
from runwright.dataset.readers.addresses import file_fingerprint, file_state, num_bytes
from runwright.dataset.readers.paths import check_is_text
from runwright.dataset.readers.places import line_of, place_in
from runwright.dataset.readers.raw import BATCH_ROWS, RawSplit, kept_rows, with_row_id
from runwright.dataset.readers.reading import (
    HALF_CHARACTER,
    UNFIT,
    Files,
    Position,
    Reader,
    Values,
    ends_lines_with_one_byte,
    first_unfit,
    holds_half_character,
)
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

BLOCK_ROWS = 1000  # read, cleaned and encoded together
SAMPLED_TYPES = (
    f"the first {BATCH_ROWS:,} rows of the stream are; csv: dataset.source.column_types says what a column is"
)
Sources: TypeAlias = "dict[str, Any]"
"""What a reader gives for each split: a Dataset, and for train of a stream a RowStream."""


class Place(NamedTuple):
    """Where the next row is."""

    file: int = 0  # which of the files
    row: int = 0  # rows of that file before it
    offset: int = 0  # bytes of that file before it, where it is read by lines
    row_id: int = 0  # rows of all files before it


class Block(NamedTuple):
    """Some consecutive rows, renamed and cleaned: there may be none left."""

    rows: Dataset
    num_read: int  # before cleaning
    place: Place  # of the row after the last one


@dataclass(frozen=True, kw_only=True, slots=True)
class RowStream:
    """The rows of one split as a stream."""

    files: Sequence[str]
    schema: pa.Schema
    reader: Reader
    fingerprint: str = ""  # tells other data, not the same data elsewhere; of train that is not kept
    types_of: str | None = None  # why columns have their types, for complaints; None: as the reader says
    how: Mapping[str, Any]  # what it takes to find the line of a row, see `places.py`
    split: str = "train"
    limit: int | None = None  # rows
    columns: Mapping[str, str] | None = None  # new name: name in the files
    cleaning: Sequence[Callable[[Splits], Splits]] = ()

    def blocks(self, place: Place, sizes: Iterator[int]) -> Iterator[Block]:
        """Blocks of so many rows from a place to the end; only the last one may be shorter."""
        cursor = _Cursor(self, place)
        rows = self._rows(cursor)
        for size in sizes:
            start, cursor.counts = cursor.place, {}
            values = list(islice(rows, size))
            if not values:
                return
            before = ("", start.row_id - start.row)  # what is before the file of the first row
            rows_of_block = self._table(values, start.row_id, [before, *cursor.origins])
            yield Block(self._cleaned(rows_of_block), len(values), cursor.place)

    def raw(self) -> RawSplit:
        """All rows as the files have them, to be stored."""
        origins: list[tuple[str, int]] = []

        def batches() -> Iterator[pa.RecordBatch]:
            cursor = _Cursor(self, Place())
            rows = self._rows(cursor)
            while values := list(islice(rows, BATCH_ROWS)):
                yield self._batch(values, cursor.row_id - len(values), cursor.origins)
            origins.extend(cursor.origins)

        return RawSplit(schema=self.schema, batches=batches(), origins=origins, how=self.how)

    def raw_head(self) -> Dataset:
        """The first rows as the files have them."""
        plain = replace(self, columns=None, cleaning=())
        return next(plain.blocks(Place(), iter([BLOCK_ROWS]))).rows

    def describe(self) -> str:
        """How many files of how many bytes."""
        sizes = [size for file in self.files if (size := num_bytes(file)) is not None]
        files = f"{len(self.files)} files" if len(self.files) > 1 else self.files[0]
        return f"{files} ({sum(sizes) / 1e6:,.1f} MB)" if sizes else files

    def head(self) -> Dataset:
        """The first rows that are left by cleaning; raises DataError where the first 100,000 are not."""
        for number, block in enumerate(self.blocks(Place(), iter(lambda: BLOCK_ROWS, 0))):
            if len(block.rows) or number == 100:
                return block.rows
        raise DataError("the split has no rows left", split=self.split)

    def with_rows(
        self,
        *,
        columns: Mapping[str, str],
        cleaning: Sequence[Callable[[Splits], Splits]],
        limit: int | None,
    ) -> RowStream:
        """The same stream with columns renamed, steps that clean one row at a time, and an end."""
        for step in cleaning:
            if not getattr(step, "row_wise", False):
                raise ConfigError(
                    f"dataset.cleaning: {type(step).__name__} looks at all rows together, which a stream "
                    "never has; leave it out, or set dataset.streaming=false"
                )
        return replace(self, columns=dict(columns), cleaning=tuple(cleaning), limit=limit)

    # --- inside ---------------------------------------------------------------------------------------

    def _rows(self, cursor: _Cursor) -> Iterator[Values]:
        for number in range(cursor.file, len(self.files)):
            if number != cursor.file:
                cursor.counts[cursor.file] = cursor.at.row
                cursor.file, cursor.at = number, Position(address=self.files[number], split=self.split)
            at = cursor.at
            for values in self.reader.rows(at, self.schema.names):
                if cursor.row_id == self.limit:
                    return
                at.row, cursor.row_id = at.row + 1, cursor.row_id + 1
                yield values
            if not at.row:
                raise DataError("the file has no rows", file=at.address, split=self.split)

    def _batch(
        self, rows: Sequence[Values], first_id: int, origins: Sequence[tuple[str, int]]
    ) -> pa.RecordBatch:
        arrays = []
        for values, field in zip(self.reader.columns(rows, self.schema.names), self.schema, strict=True):
            try:
                arrays.append(self.reader.array(values, field.type))
            except UNFIT as error:
                raise self._unfit(values, field, first_id, origins) from error
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _table(self, rows: Sequence[Values], first_id: int, origins: Sequence[tuple[str, int]]) -> Dataset:
        batch = self._batch(rows, first_id, origins)
        ids = pa.array(range(first_id, first_id + len(rows)), pa.int64())
        schema = with_row_id(self.schema, split=self.split, file=self.files[0])
        return Dataset(
            InMemoryTable(pa.Table.from_arrays([*batch.columns, ids], schema=schema)),
            info=DatasetInfo(description=json.dumps({"files": origins, "how": dict(self.how)})),
            fingerprint=store.digest([self.fingerprint, first_id, len(rows)]),
        )

    def _unfit(
        self, values: Sequence[Any], field: pa.Field, first_id: int, origins: Sequence[tuple[str, int]]
    ) -> DataError:
        number, value = first_unfit(self.reader, values, field.type)
        file, row = place_in(origins, first_id + number)
        kind = str(field.type).replace("double", "float64")
        problem = f"{value!r:.80} is not {kind}, as {self.types_of or self.reader.types_of}"
        if holds_half_character(value):
            problem = f"{value!a:.80}: {HALF_CHARACTER}"
        return DataError(
            problem,
            file=file, line=line_of(file, row, self.how), split=self.split, row=row, column=field.name,
        )  # fmt: skip

    def _cleaned(self, rows: Dataset) -> Dataset:
        splits = renamed({self.split: rows}, self.columns or {})
        for step in self.cleaning:
            if len(splits[self.split]):
                splits = step(splits)
        return splits[self.split]


class _Cursor:
    """How far a stream has been read."""

    def __init__(self, stream: RowStream, place: Place) -> None:
        self._files = stream.files
        self.file, self.row_id = place.file, place.row_id
        self.at = Position(
            address=self._files[place.file], split=stream.split, row=place.row, offset=place.offset
        )
        self.counts: dict[int, int] = {}  # rows of the files that were finished

    @property
    def place(self) -> Place:
        return Place(self.file, self.at.row, self.at.offset, self.row_id)

    @property
    def origins(self) -> list[tuple[str, int]]:
        """(file, rows read of it) since `counts` was emptied."""
        counts = self.counts | {self.file: self.at.row}
        return [(self._files[number], count) for number, count in counts.items()]


def read_files(reader: Reader, files: Files, *, streaming: bool = False) -> Sources:
    """Rows of files, from the cache where they were read before; with `streaming` train is a stream."""
    sampled = "train" if streaming and "train" in files else None
    if sampled and reader.line_encoding and not ends_lines_with_one_byte(reader.line_encoding):
        raise ConfigError(
            f"dataset.source.encoding: given {reader.line_encoding!r} with dataset.streaming=true; expected "
            "an encoding in which a line ends with one byte: convert the file to UTF-8"
        )

    def streams() -> dict[str, RowStream]:
        for split, addresses in files.items() if reader.is_text else ():
            for address in addresses:
                check_is_text(address, split=split)
        return {
            split: RowStream(
                files=files[split], schema=schema, reader=reader, how=reader.how(len(schema)), split=split
            )
            for split, schema in reader.schemas(files, sampled=sampled).items()
        }

    states = {split: [file_state(file) for file in files[split]] for split in files if split != sampled}
    key = {"reader": type(reader).__name__, "files": states, "options": asdict(reader)}
    if sampled is None:
        return dict(kept_rows(key, lambda: {split: rows.raw() for split, rows in streams().items()}))
    found = streams()
    train = replace(found.pop(sampled), fingerprint=files_fingerprint(files[sampled]), types_of=SAMPLED_TYPES)
    key["types"] = [str(rows.schema) for rows in found.values()]
    kept = kept_rows(key, lambda: {split: rows.raw() for split, rows in found.items()}) if found else {}
    return {sampled: train, **kept}


def files_fingerprint(files: Sequence[str]) -> str:
    """32 hex digits of a hash of each file, the same elsewhere."""
    return store.digest([file_fingerprint(file) for file in files])
