"""Rows that are read when they are wanted: a stream of files, from any place in it, in blocks of rows.

A place is four whole numbers; reading from it gives the rows that reading from the start gives after it. So a
checkpoint needs no rows, and going on costs the same wherever that is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
from datasets import Dataset, DatasetInfo
from datasets.table import InMemoryTable

from runwright import store
from runwright.dataset.cleaning.passes import renamed
from runwright.dataset.readers.places import line_of, place_in
from runwright.dataset.readers.raw import with_row_id
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

BLOCK_ROWS = 1000  # read, cleaned and encoded together
LEARN_ROWS = 10_000  # the types of columns are those of so many first rows
_SAMPLES = 1024  # places of a file, evenly from its beginning to its end, that its fingerprint is made of
_SAMPLE_BYTES = 1 << 16  # at each of them; smaller files are read whole
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)

Values = Sequence[Any]  # of one row, one for each column
ReadFile = Callable[[Path, int, int], Iterator[tuple[Values, int]]]
"""From (file, rows before, bytes before) to the rows after that, each with the bytes before the next one."""
Convert = Callable[[list[Any], pa.Field], pa.Array]
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

    files: Sequence[Path]
    schema: pa.Schema
    read_file: ReadFile
    convert: Convert
    fingerprint: str  # tells other data, not the same data elsewhere
    how: Mapping[str, Any]  # what it takes to find the line of a row, see `places.py`
    split: str = "train"
    limit: int | None = None  # rows
    columns: Mapping[str, str] | None = None  # new name: name in the files
    cleaning: Sequence[Callable[[Splits], Splits]] = ()

    def blocks(self, place: Place, sizes: Iterator[int]) -> Iterator[Block]:
        """Blocks of so many rows from a place to the end; only the last one may be shorter."""
        rows = self._rows(place)
        for size in sizes:
            values: list[Values] = []
            start, counts = place, {}
            for row, place in islice(rows, size):
                values.append(row)
                counts[place.file] = place.row
            if not values:
                return
            before = ("", start.row_id - start.row)  # what is before the file of the first row
            origins = [before, *((str(self.files[file]), count) for file, count in counts.items())]
            yield Block(self._cleaned(self._table(values, start.row_id, origins)), len(values), place)

    def raw_head(self) -> Dataset:
        """The first rows as the files have them."""
        plain = replace(self, columns=None, cleaning=())
        return next(plain.blocks(Place(), iter([BLOCK_ROWS]))).rows

    def describe(self) -> str:
        """How many files of how many bytes."""
        sizes = [file.stat().st_size for file in self.files if file.is_file()]
        files = f"{len(self.files)} files" if len(self.files) > 1 else str(self.files[0])
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

    def _rows(self, place: Place) -> Iterator[tuple[Values, Place]]:
        file, row, offset, row_id = place
        while file < len(self.files):
            for values, offset in self.read_file(self.files[file], row, offset):  # noqa: B020
                if row_id == self.limit:
                    return
                row, row_id = row + 1, row_id + 1
                yield values, Place(file, row, offset, row_id)
            if not row:
                raise DataError("the file has no rows", file=str(self.files[file]), split=self.split)
            file, row, offset = file + 1, 0, 0

    def _table(self, values: list[Values], first_id: int, origins: list[tuple[str, int]]) -> Dataset:
        columns = []
        for column, field in zip(zip(*values, strict=True), self.schema, strict=True):
            try:
                columns.append(self.convert(list(column), field))
            except _UNFIT as error:
                raise self._unfit(column, field, first_id, origins) from error
        ids = pa.array(range(first_id, first_id + len(values)), pa.int64())
        schema = with_row_id(self.schema, split=self.split, file=str(self.files[0]))
        return Dataset(
            InMemoryTable(pa.Table.from_arrays([*columns, ids], schema=schema)),
            info=DatasetInfo(description=json.dumps({"files": origins, "how": dict(self.how)})),
            fingerprint=store.digest([self.fingerprint, first_id, len(values)]),
        )

    def _unfit(
        self, values: Values, field: pa.Field, first_id: int, origins: list[tuple[str, int]]
    ) -> DataError:
        number = next(n for n, value in enumerate(values) if not self._fits(value, field))
        file, row = place_in(origins, first_id + number)
        return DataError(
            f"{values[number]!r:.80} is not {field.type}, as the first {LEARN_ROWS:,} rows of the stream "
            "are; csv: dataset.source.column_types says what a column is",
            file=file, line=line_of(Path(file), row, self.how), split=self.split, row=row, column=field.name,
        )  # fmt: skip

    def _fits(self, value: Any, field: pa.Field) -> bool:
        try:
            self.convert([value], field)
        except _UNFIT:
            return False
        return True

    def _cleaned(self, rows: Dataset) -> Dataset:
        splits = renamed({self.split: rows}, self.columns or {})
        for step in self.cleaning:
            if len(splits[self.split]):
                splits = step(splits)
        return splits[self.split]


def files_fingerprint(files: Sequence[Path]) -> str:
    """32 hex digits of a hash of each file, the same elsewhere."""
    return store.digest([file_fingerprint(path) for path in files])


def file_fingerprint(path: Path) -> str:
    """32 hex digits of a hash of what is in a file; of a large one its size and samples of it."""
    size = path.stat().st_size
    hasher = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
    places = range(0, size, _SAMPLE_BYTES)
    if len(places) > _SAMPLES:
        places = [n * (size - _SAMPLE_BYTES) // (_SAMPLES - 1) for n in range(_SAMPLES)]
    with path.open("rb") as stream:
        for place in places:
            stream.seek(place)
            hasher.update(stream.read(_SAMPLE_BYTES))
    return hasher.hexdigest()
