"""Streams of rows: the rows of files from any position on, in blocks, read when they are needed.

A `StreamPosition` is five whole numbers: reading from it gives the rows that a reading from the start gives
after it. So a checkpoint needs no rows, and resuming costs the same at any position.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, repeat
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
from datasets import Dataset, DatasetInfo
from datasets.table import InMemoryTable

from runwright import store
from runwright.dataset.cleaning.passes import renamed
from runwright.dataset.readers import reading
from runwright.dataset.readers.addresses import file_fingerprint, file_state
from runwright.dataset.readers.raw import RawSplit, kept_rows, position_in, with_row_id
from runwright.dataset.readers.reading import BATCH_ROWS, UNFIT, Files, Position, Reader
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

BLOCK_ROWS = 1000  # read, cleaned and encoded together
Sources: TypeAlias = "dict[str, Any]"
"""What a reader gives for each split: a Dataset, and for train of a stream a RowStream."""


class StreamPosition(NamedTuple):
    """Position of the next row in the files of a stream; that in the file being read is a `Position`."""

    file: int = 0  # number of the file
    row: int = 0  # rows of that file before it
    offset: int = 0  # bytes of that file before it, where it is read by lines
    row_id: int = 0  # rows of all files before it
    num_lines: int = 0  # lines of that file before it, where it is read by lines


class Block(NamedTuple):
    """Some consecutive rows, renamed and cleaned: there may be none left."""

    rows: Dataset
    num_read: int  # before cleaning
    end: StreamPosition  # of the row after the last one


@dataclass(frozen=True, kw_only=True, slots=True)
class RowStream:
    """The rows of one split as a stream."""

    files: Sequence[str]
    schema: pa.Schema
    reader: Reader
    fingerprint: str = ""  # tells other data, not the same data elsewhere; of train that is not kept
    about: Mapping[str, Any] = field(default_factory=dict)  # more about the sources, see `raw.py`
    split: str = "train"
    limit: int | None = None  # rows
    columns: Mapping[str, str] = field(default_factory=dict)  # new name: name in the files
    cleaning: Sequence[Callable[[Splits], Splits]] = ()  # steps that look at one row at a time

    def blocks(self, start: StreamPosition, sizes: Iterator[int]) -> Iterator[Block]:
        """Blocks of so many rows from a position to the end; only the last one may be shorter."""
        schema = with_row_id(self.schema, split=self.split, file=self.files[0])
        for taken in self._taken(start, sizes):
            first_id, num_read = taken.first_id, len(taken.values)
            ids = pa.array(range(first_id, first_id + num_read), pa.int64())
            left_out: dict[str, DataError] = {}
            table = pa.Table.from_arrays([*self._batch(taken, left_out).columns, ids], schema=schema)
            about = {**self.about, "files": taken.origins, "numbers": taken.lines, "first_id": first_id}
            rows = Dataset(
                InMemoryTable(table.drop(list(left_out))),
                info=DatasetInfo(description=json.dumps(about | {"left_out": _reasons(left_out)})),
                fingerprint=store.digest([self.fingerprint, first_id, num_read]),
            )
            splits = renamed({self.split: rows}, self.columns)
            for step in self.cleaning:
                if len(splits[self.split]):
                    splits = step(splits)
            yield Block(splits[self.split], num_read, taken.end)

    def raw(self) -> RawSplit:
        """All rows as the files have them, to be stored."""
        about: dict[str, Any] = {**self.about, "files": []}
        lines = array("q")
        left_out: dict[str, DataError] = {}

        def batches() -> Iterator[pa.RecordBatch]:
            counts = dict[str, int]()
            for taken in self._taken(StreamPosition(), repeat(BATCH_ROWS)):
                counts |= dict(taken.origins[1:])
                lines.extend(taken.lines)
                yield self._batch(taken, left_out)
            about["files"] = list(counts.items())
            about["left_out"] = _reasons(left_out)
            unfit = "left out a column whose values do not fit each other"
            about["notes"] = [*self.about.get("notes", ()), *(f"{unfit}: {e}" for e in left_out.values())]
            if max(lines, default=-1) < 0:
                del lines[:]

        return RawSplit(schema=self.schema, batches=batches(), about=about, numbers=lines)

    def head(self) -> Dataset:
        """The first rows that are left by cleaning; raises DataError where the first 100,000 are not."""
        for number, block in enumerate(self.blocks(StreamPosition(), repeat(BLOCK_ROWS))):
            if len(block.rows) or number == 100:
                return block.rows
        raise DataError("the split has no rows left", split=self.split)

    def _taken(self, start: StreamPosition, sizes: Iterator[int]) -> Iterator[_Taken]:
        """So many rows at a time from a position to the end."""
        number, row_id = start.file, start.row_id
        inside = {"row": start.row, "offset": start.offset, "num_lines": start.num_lines}
        at = Position(address=self.files[number], split=self.split, **inside)

        def read() -> Iterator[Sequence[Any]]:
            nonlocal number, row_id, at
            for number in range(start.file, len(self.files)):
                if number != start.file:
                    finished.append((at.address, at.row))
                    at = Position(address=self.files[number], split=self.split)
                for values in self.reader.rows(at, self.schema.names):
                    if row_id == self.limit:
                        return
                    at.row, row_id = at.row + 1, row_id + 1
                    lines.append(-1 if at.line is None else at.line)
                    yield values
                if not at.row and not self.reader.may_be_empty:
                    raise DataError("the file is empty: it has no rows", file=at.address, split=self.split)

        rows = read()
        for size in sizes:
            first_id, before = row_id, ("", row_id - at.row)
            finished: list[tuple[str, int]] = []  # files that were read to their end meanwhile
            lines: list[int] = []
            if not (values := list(islice(rows, size))):
                return
            end = StreamPosition(number, at.row, at.offset, row_id, at.num_lines)
            yield _Taken(values, first_id, [before, *finished, (at.address, at.row)], lines, end)

    def _batch(self, taken: _Taken, left_out: dict[str, DataError]) -> pa.RecordBatch:
        """The values as columns; one with a value that does not fit has nulls, and goes to `left_out`."""
        arrays = []
        for values, column in zip(zip(*taken.values, strict=True), self.schema, strict=True):
            try:
                cells = values if column.name not in left_out else [None] * len(values)
                arrays.append(self.reader.array(cells, column.type))
            except UNFIT:
                left_out[column.name] = self._unfit(values, column, taken)
                arrays.append(pa.nulls(len(values), column.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _unfit(self, values: Sequence[Any], column: pa.Field, taken: _Taken) -> DataError:
        """The error for the first value that Arrow cannot store as the column's type."""

        def fits(value: Any) -> bool:
            try:
                self.reader.array([value], column.type)
            except UNFIT:
                return False
            return True

        number, value = next((number, value) for number, value in enumerate(values) if not fits(value))
        kind = str(column.type).replace("double", "float64")
        problem = f"{value!r:.80} is not {kind}, as {self.reader.types_of}"
        if reading.holds_half_character(value):
            problem = f"{value!a:.80}: {reading.HALF_CHARACTER}"
        file, row = position_in(taken.origins, taken.first_id + number)
        line = taken.lines[number] if taken.lines[number] >= 0 else None
        return DataError(problem, file=file, line=line, split=self.split, row=row, column=column.name)


def _reasons(left_out: Mapping[str, DataError]) -> dict[str, dict[str, Any]]:
    return {column: {"problem": error.problem, **error.where} for column, error in left_out.items()}


class _Taken(NamedTuple):
    """Some consecutive rows of the files."""

    values: list[Sequence[Any]]  # of each row
    first_id: int
    origins: list[tuple[str, int]]  # ("", rows of files before), then (file, its rows up to the last one)
    lines: list[int]  # of each row; -1: none
    end: StreamPosition  # of the row after the last one


def read_files(reader: Reader, files: Files, *, streaming: bool = False) -> Sources:
    """Rows of files, from the cache where they were read before; with `streaming` train is a stream."""
    if "" in files:  # of no split: somebody wants the reader, which reads nothing by itself
        return {"": reader}
    sampled = "train" if streaming and "train" in files else None
    encoding = getattr(reader, "encoding", None) if getattr(reader, "unit", "line") == "line" else None
    if sampled and encoding and not reading.ends_lines_with_one_byte(encoding):
        problem = f"given {encoding!r} with dataset.streaming=true; expected an encoding in which a line ends"
        raise ConfigError(f"dataset.source.encoding: {problem} with one byte: convert the file to UTF-8")

    def streams() -> dict[str, RowStream]:
        result = {}
        for split, schema in reader.schemas(files, sampled).items():
            about = {"notes": [*reader.notes(split, files[split][0], schema)]}
            result[split] = RowStream(
                files=files[split], schema=schema, reader=reader, split=split, about=about
            )
        return result

    states = {split: [file_state(file) for file in files[split]] for split in files if split != sampled}
    key = {"reader": type(reader).__name__, "files": states, "options": asdict(reader)}
    if sampled is None:
        return dict(kept_rows(key, lambda: {split: rows.raw() for split, rows in streams().items()}))
    others = streams()
    content = store.digest([file_fingerprint(file) for file in files[sampled]])  # whatever the paths
    train = replace(others.pop(sampled), fingerprint=content)
    key["types"] = [str(rows.schema) for rows in others.values()]
    stored = kept_rows(key, lambda: {split: rows.raw() for split, rows in others.items()}) if others else {}
    return {sampled: train, **stored}
