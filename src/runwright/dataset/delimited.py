"""CSV and its relatives as rows of text, each fault named with its row and line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from runwright.dataset.raw import BATCH_ROWS
from runwright.errors import DataError

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

_MAX_FIELD_CHARACTERS = 10_000_000  # a longer field means an unclosed quote, not a text
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")  # what int64 holds and str(int(x)) gives back: "007" is text
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)?\.\d*([eE][+-]?\d{1,2})?|-?(0|[1-9]\d*)[eE][+-]?\d{1,2}")
TYPES = {"string": pa.large_string(), "int": pa.int64(), "float": pa.float64()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How the fields of a file are told apart; `quote` None means that quotes are ordinary characters."""

    delimiter: str
    quote: str | None
    encoding: str
    header: bool
    column_names: tuple[str, ...] | None


def column_names(path: Path, dialect: Dialect, *, split: str) -> tuple[str, ...]:
    """The names given, or those in the first line; raises DataError where they are not distinct."""
    first = next(_records(path, dialect, split=split), (0, []))[1]
    names = dialect.column_names or tuple(name.strip() for name in first)
    if dialect.column_names is None and not dialect.header:
        names = tuple(f"column_{number}" for number in range(1, len(first) + 1))
    file = str(path)
    if not names:
        raise DataError("the file is empty", file=file, split=split)
    for number, name in enumerate(names):
        if not name:
            raise DataError(
                f"column {number + 1} of the header has no name; give column_names", file=file, split=split
            )
        if name in names[:number]:
            raise DataError(
                "the header names this column twice; give column_names", file=file, split=split, column=name
            )
    return names


def batches(path: Path, names: Sequence[str], dialect: Dialect, *, split: str) -> Iterator[list[list[str]]]:
    """Rows of text fields, BATCH_ROWS at a time; raises DataError at the first row that does not fit."""
    rows = _checked(path, names, dialect, split=split)
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _checked(path: Path, names: Sequence[str], dialect: Dialect, *, split: str) -> Iterator[list[str]]:
    rows = _records(path, dialect, split=split)
    if dialect.header:
        next(rows, None)
    for number, (line, fields) in enumerate(rows):
        if len(fields) != len(names):
            raise DataError(
                f"line {line} has {len(fields)} fields, expected {len(names)} ({', '.join(names)}): "
                f"{_shorten(fields)}; check delimiter and quote",
                file=str(path),
                split=split,
                row=number,
            )
        yield fields


def _records(path: Path, dialect: Dialect, *, split: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each record, the header too; blank lines are passed over."""
    if csv.field_size_limit() < _MAX_FIELD_CHARACTERS:
        csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    encoding = "utf-8-sig" if dialect.encoding.lower() in {"utf-8", "utf8"} else dialect.encoding
    with path.open(encoding=encoding, newline="") as stream:
        reader = _reader(stream, dialect)
        number = -1 if dialect.header else 0
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
                    number += 1
        except csv.Error as error:
            raise DataError(
                f"line {reader.line_num}: {error}; where quotes are ordinary characters, set quote to null",
                file=str(path),
                split=split,
                row=max(number, 0),
            ) from error
        except UnicodeDecodeError as error:
            raise _undecodable(path, dialect, encoding, split=split) from error


def _reader(stream: io.TextIOBase, dialect: Dialect) -> Any:  # the reader's class has no public name
    if dialect.quote is None:
        return csv.reader(stream, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(stream, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)


def _undecodable(path: Path, dialect: Dialect, encoding: str, *, split: str) -> DataError:
    """Say where decoding stopped: the stream decodes ahead in blocks, so the file is read once more."""
    content = path.read_bytes()
    start = _first_undecodable(content, encoding)
    before = content[:start].decode(encoding, errors="ignore")
    records = [fields for fields in _reader(io.StringIO(before + "?", newline=""), dialect) if fields]
    row = max(len(records) - 1 - dialect.header, 0)
    line = before.count("\n") + 1
    hint = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "latin-1 or cp1252, perhaps"
    return DataError(
        f"line {line} is not {dialect.encoding} (byte 0x{content[start : start + 1].hex()}); set encoding to "
        f"the file's own: {hint}",
        file=str(path),
        split=split,
        row=row,
    )


def _first_undecodable(content: bytes, encoding: str) -> int:
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start
    return len(content)  # the file has changed since


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


def typed(values: Sequence[str], kind: str) -> pa.Array:
    """The column as Arrow; an empty number is null, an empty string stays a string."""
    strings = pa.array(values, pa.large_string())
    if kind == "string":
        return strings
    return pc.cast(pc.if_else(pc.equal(strings, ""), None, strings), TYPES[kind])


def _shorten(fields: Sequence[str]) -> str:
    text = " | ".join(fields)
    return repr(text if len(text) <= 80 else text[:77] + "...")
