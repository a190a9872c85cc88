"""CSV cells as typed columns: one pass to learn each column's type, one to convert."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute

from runwright.dataset.readers.delimited import Dialect, make_reader, wrong_number
from runwright.dataset.readers.reading import Files, Position, Reader, lines_of
from runwright.errors import ConfigError, DataError

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
BATCH_ROWS = 10_000  # looked at together; of a stream that is read later the first so many count
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # what int64 holds and str(int(x)) gives back: "007" is text
_DECIMAL = re.compile(
    r"-?(?=\.?\d)(0|[1-9]\d*)?\.\d*([eE][+-]?\d{1,2})?|-?(0|[1-9]\d*)[eE][+-]?\d{1,2}", re.ASCII
)
_TYPES = {"string": pa.large_string(), "int": pa.int64(), "float": pa.float64()}


@dataclass(frozen=True, kw_only=True)
class CsvReader(Reader):
    """Rows of delimited files."""

    types_of = "dataset.source.column_types asks"
    dialect: Dialect
    column_types: Mapping[str, Any] = field(default_factory=dict)  # string, int or float, of some columns

    @property
    def line_encoding(self) -> str:
        """The encoding in which lines are told apart."""
        return self.dialect.encoding

    def rows(self, at: Position, names: Sequence[str]) -> Iterator[list[str]]:
        """The fields of each record; raises DataError at the first that has too few or too many."""
        header = self.dialect.header and not at.offset
        for fields in self._records(at):
            if header:
                header = False
            elif len(fields) == len(names) or (self.dialect.lenient and len(fields) > len(names)):
                yield fields[: len(names)]
            elif not self.dialect.lenient:
                raise wrong_number(fields, names, at.address, split=at.split, row=at.row, line=at.line)

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """An empty number is null, an empty string stays a string."""
        strings = pa.array(values, pa.large_string())
        if pa.types.is_large_string(kind):
            return strings
        return pc.cast(pc.if_else(pc.equal(strings, ""), None, strings), kind)

    def how(self, num_columns: int) -> dict[str, Any]:
        """What it takes to find the line of a row, see `places.py`."""
        return {"reader": "csv", "dialect": asdict(self.dialect), "num_columns": num_columns}

    def schemas(self, files: Files, *, sampled: str | None) -> dict[str, pa.Schema]:
        """Int or float where every value in every split is, else string, unless `column_types` says it.

        Of the split `sampled` the first 10,000 rows count.
        """
        names = {split: self._names_of_files(split, files[split]) for split in files}
        unknown = [name for name in self.column_types if all(name not in names[split] for split in names)]
        if unknown:
            shown = list(next(iter(names.values())))
            raise ConfigError(f"dataset.source.column_types names {unknown[0]!r}; columns: {shown}")
        kinds = dict(self.column_types)
        filled: set[str] = set()
        for split, addresses in files.items():
            most = 1 if split == sampled else None
            for address in addresses[:most]:
                for batch in islice(self._batches(address, split, names[split]), most):
                    for name, values in zip(names[split], zip(*batch, strict=True), strict=True):
                        filled |= {name} if any(values) else set()
                        if name not in self.column_types:
                            kinds[name] = narrowest(values, kinds.get(name, "int"))
        empty = {name: "string" for name in kinds if name not in filled and name not in self.column_types}
        types = {name: _TYPES[kind] for name, kind in (kinds | empty).items()}
        return {
            split: pa.schema([(name, types.get(name, _TYPES["string"])) for name in names[split]])
            for split in names
        }

    def names(self, address: str, split: str) -> tuple[str, ...]:
        """The names given, or those in the first line; raises DataError where they are not distinct."""
        at = Position(address=address, split=split)
        first = next(self._records(at), [])
        names = self.dialect.column_names or tuple(name.strip() for name in first)
        if self.dialect.column_names is None and not self.dialect.header:
            names = tuple(f"column_{number}" for number in range(1, len(first) + 1))
        if not names:
            raise DataError("the file is empty", file=address, split=split)
        for number, name in enumerate(names):
            if not name:
                problem = f"column {number + 1} of the header has no name; give column_names"
                raise DataError(problem, file=address, split=split)
            if name in names[:number]:
                problem = "the header names this column twice; give column_names"
                raise DataError(problem, file=address, split=split, column=name)
        return names

    def _names_of_files(self, split: str, files: Sequence[str]) -> tuple[str, ...]:
        names = self.names(files[0], split)
        for address in files[1:]:
            other = self.names(address, split)
            if other != names:
                raise DataError(
                    f"columns {list(other)} differ from {list(names)} in {files[0].rpartition('/')[2]}",
                    file=address, split=split,
                )  # fmt: skip
        return names

    def _batches(self, address: str, split: str, names: Sequence[str]) -> Iterator[list[list[str]]]:
        at = Position(address=address, split=split)
        rows = counted(self.rows(at, names), at)
        while batch := list(islice(rows, BATCH_ROWS)):
            yield batch

    def _records(self, at: Position) -> Iterator[list[str]]:
        """The fields of each record, the header too; blank lines are passed over."""
        following = 1 if not at.offset else None
        reader = make_reader(lines_of(at, self.dialect.encoding), self.dialect)
        try:
            for fields in reader:
                last, at.line = at.line, following
                if fields:
                    yield fields
                following = None if last is None else last + 1
        except csv.Error as error:
            raise at.error(f"{error}; where quotes are ordinary characters, set quote to null") from error


def counted(rows: Iterator[Any], at: Position) -> Iterator[Any]:
    """The rows of one file, each counted when it is taken."""
    for values in rows:
        at.row += 1
        yield values


def narrowest(values: Sequence[str], kind: str) -> str:
    """The narrowest of int, float and string that holds these and what `kind` held; "" fits all."""
    if kind == "int":
        if all(_WHOLE.fullmatch(value) for value in values if value):
            return "int"
        kind = "float"
    if kind == "float" and all(
        _WHOLE.fullmatch(value) or _DECIMAL.fullmatch(value) for value in values if value
    ):
        return "float"
    return "string"
