"""CSV and its relatives as typed columns; each fault named with its row and line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute

from runwright.dataset.readers.reading import Files, Position, Reader, batches_to_learn, lines_of
from runwright.errors import ConfigError, DataError

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
MAX_FIELD_CHARACTERS = 10_000_000  # a longer field means an unclosed quote, not a text
DELIMITERS = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # what int64 holds and str(int(x)) gives back: "007" is text
_DECIMAL = re.compile(
    r"-?(?=\.?\d)(0|[1-9]\d*)?\.\d*([eE][+-]?\d{1,2})?|-?(0|[1-9]\d*)[eE][+-]?\d{1,2}", re.ASCII
)
_TYPES = {"string": pa.large_string(), "int": pa.int64(), "float": pa.float64()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """Format of a delimited file; `quote` None means that quotes are ordinary characters."""

    delimiter: str
    quote: str | None
    encoding: str  # as `known_encoding` gives it
    header: bool
    column_names: tuple[str, ...] | None
    lenient: bool = False  # pass over rows with too few fields, ignore fields too many


def delimiter_of(delimiter: str, option: str) -> str:
    """The delimiter itself, which may be given by its name."""
    character = DELIMITERS.get(delimiter, delimiter)
    if len(character) != 1:
        choices = ", ".join(DELIMITERS)
        raise ConfigError(f"{option}: expected one character or one of {choices}, got {delimiter!r}")
    return character


def quote_of(quote: str | None, option: str) -> str | None:
    """The quote itself; raises ConfigError unless it is null or one character."""
    if quote is not None and len(quote) != 1:
        raise ConfigError(f"{option}: expected one character or null, got {quote!r}")
    return quote


def records_in(lines: Iterable[str], dialect: Dialect, at: Position) -> Iterator[list[str]]:
    """The fields of each record, the header too; blank lines are passed over.

    `lines` must count themselves in `at.num_lines`; sets `at.line` to the first line of the record.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of the process: others may have set another
    quoting: Any = {"quoting": csv.QUOTE_NONE} if dialect.quote is None else {"quotechar": dialect.quote}
    first = at.num_lines + 1
    try:
        for fields in csv.reader(lines, delimiter=dialect.delimiter, strict=True, **quoting):
            at.line = first
            if fields:
                yield fields
            first = at.num_lines + 1
    except csv.Error as error:
        hint = "where quotes are ordinary characters, set quote to null"
        raise at.error(f"{error}; {hint}", line=at.num_lines) from error


def wrong_number(fields: Sequence[str], names: Sequence[str], at: Position) -> DataError:
    """The error for a row with too few or too many fields."""
    text = " | ".join(fields)
    text = text if len(text) <= 80 else text[:77] + "..."
    return at.error(
        f"the row has {len(fields)} fields, expected {len(names)} ({', '.join(names)}): {text!r}; check "
        "delimiter and quote"
    )


@dataclass(frozen=True, kw_only=True)
class CsvReader(Reader):
    """Rows of delimited files, their cells as typed columns."""

    types_of = "dataset.source.column_types asks"
    dialect: Dialect
    column_types: Mapping[str, Any] = field(default_factory=dict)  # string, int or float, of some columns

    @property
    def line_encoding(self) -> str:
        return self.dialect.encoding

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[str]]:
        """The fields of each record; raises DataError at the first that has too few or too many."""
        header = self.dialect.header and not at.offset
        for fields in records_in(lines_of(at, self.dialect.encoding), self.dialect, at):
            if header:
                header = False
            elif len(fields) == len(names) or (self.dialect.lenient and len(fields) > len(names)):
                yield fields[: len(names)]
            elif not self.dialect.lenient:
                raise wrong_number(fields, names, at)

    def records(self, at: Position, /) -> Iterator[dict[str, Any]]:
        names = self.names(at.address, at.split or "")
        for fields in self.rows(at, names):
            yield dict(zip(names, fields, strict=True))

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """An empty number is null, an empty string stays a string."""
        strings = pa.array(values, pa.large_string())
        if pa.types.is_large_string(kind):
            return strings
        return pc.cast(pc.if_else(pc.equal(strings, ""), None, strings), kind)

    def schemas(self, files: Files, sampled: str | None, /) -> dict[str, pa.Schema]:
        """Int or float where every value in every split is, else string, unless `column_types` says it.

        Of the split `sampled` the first 10,000 rows count.
        """
        names: dict[str, tuple[str, ...]] = {}
        for split, addresses in files.items():
            for address in addresses:
                other = self.names(address, split)
                if other != names.setdefault(split, other):
                    first = f"{list(names[split])} in {addresses[0].rpartition('/')[2]}"
                    problem = f"columns {list(other)} differ from {first}"
                    raise DataError(problem, file=address, split=split)
        unknown = [name for name in self.column_types if all(name not in names[split] for split in names)]
        if unknown:
            shown = list(next(iter(names.values())))
            raise ConfigError(f"dataset.source.column_types names {unknown[0]!r}; columns: {shown}")
        kinds = dict(self.column_types)
        filled: set[str] = set()
        for at, batch in batches_to_learn(files, sampled, lambda at: self.rows(at, names[at.split or ""])):
            for name, values in zip(names[at.split or ""], zip(*batch, strict=True), strict=True):
                filled |= {name} if any(values) else set()
                if name not in self.column_types:
                    kinds[name] = _narrowest(values, kinds.get(name, "int"))
        empty = {name: "string" for name in kinds if name not in filled and name not in self.column_types}
        types = {name: _TYPES[kind] for name, kind in (kinds | empty).items()}
        return {
            split: pa.schema([(name, types.get(name, _TYPES["string"])) for name in names[split]])
            for split in names
        }

    def names(self, address: str, split: str) -> tuple[str, ...]:
        """The names given, or those in the first line; raises DataError where they are not distinct."""
        at = Position(address=address, split=split)
        first = next(records_in(lines_of(at, self.dialect.encoding), self.dialect, at), [])
        names = self.dialect.column_names or tuple(name.strip() for name in first)
        if self.dialect.column_names is None and not self.dialect.header:
            names = tuple(f"column_{number}" for number in range(1, len(first) + 1))
        if names in {(), ("",)}:
            raise DataError("the file is empty", file=address, split=split)
        for number, name in enumerate(names):
            if not name:
                problem = f"column {number + 1} of the header has no name; give column_names"
                raise DataError(problem, file=address, split=split)
            if name in names[:number]:
                problem = "the header names this column twice; give column_names"
                raise DataError(problem, file=address, split=split, column=name)
        return names


def _narrowest(values: Sequence[str], kind: str) -> str:
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
