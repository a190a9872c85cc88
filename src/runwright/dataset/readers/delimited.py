"""CSV and its relatives as rows of text, each fault named with its row and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from runwright.dataset.readers.encoding import open_text, undecodable
from runwright.dataset.readers.raw import BATCH_ROWS
from runwright.errors import ConfigError, DataError

MAX_FIELD_CHARACTERS = 10_000_000  # a longer field means an unclosed quote, not a text
DELIMITERS = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How the fields of a file are told apart; `quote` None means that quotes are ordinary characters."""

    delimiter: str
    quote: str | None
    encoding: str  # as `known_encoding` gives it
    header: bool
    column_names: tuple[str, ...] | None
    lenient: bool = False  # pass over rows with too few fields, ignore fields too many


def column_names(path: Path, dialect: Dialect, *, split: str) -> tuple[str, ...]:
    """The names given, or those in the first line; raises DataError where they are not distinct."""
    first = next(records(path, dialect, split=split), (0, []))[1]
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
    rows = records(path, dialect, split=split)
    if dialect.header:
        next(rows, None)
    for number, (line, fields) in enumerate(rows):
        if dialect.lenient:
            if len(fields) >= len(names):
                yield fields[: len(names)]
            continue
        if len(fields) != len(names):
            raise wrong_number(fields, names, path, split=split, row=number, line=line)
        yield fields


def wrong_number(
    fields: Sequence[str],
    names: Sequence[str],
    path: Path | str,
    *,
    split: str | None,
    row: int,
    line: int | None = None,
) -> DataError:
    """The complaint about a row with too few or too many fields."""
    return DataError(
        f"the row has {len(fields)} fields, expected {len(names)} ({', '.join(names)}): "
        f"{_shorten(fields)}; check delimiter and quote",
        file=str(path), line=line, split=split, row=row,
    )  # fmt: skip


def records(path: Path, dialect: Dialect, *, split: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of each record, the header too; blank lines are passed over."""
    with open_text(path, dialect.encoding) as stream:
        try:
            yield from records_in(stream, dialect, file=str(path), split=split)
        except UnicodeDecodeError as error:

            def count_rows(before: str) -> int:
                # The record with the bad byte is the last one, begun even where nothing of it is readable.
                records = make_reader(io.StringIO(before + "?", newline=""), dialect)
                return sum(1 for fields in records if fields) - 1 - dialect.header

            raise undecodable(path, dialect.encoding, split=split, count_rows=count_rows) from error


def records_in(
    lines: Iterable[str], dialect: Dialect, *, file: str, split: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The same of lines that are text already; `file` names their place in complaints."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of the process: others may have set another
    reader = make_reader(lines, dialect)
    number, line = -1 if dialect.header else 0, 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
                number += 1
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{error}; where quotes are ordinary characters, set quote to null",
            file=file,
            line=reader.line_num,
            split=split,
            row=max(number, 0),
        ) from error


def delimiter_of(given: str, option: str) -> str:
    """The delimiter as it was given, or by its name."""
    return _one_character(DELIMITERS.get(given, given), option, or_else=f"one of {', '.join(DELIMITERS)}")


def quote_of(given: str | None, option: str) -> str | None:
    """The quote as it was given."""
    return None if given is None else _one_character(given, option, or_else="null")


def _one_character(given: str, option: str, *, or_else: str) -> str:
    """What was given; raises ConfigError where it is longer."""
    if len(given) != 1:
        raise ConfigError(f"{option}: expected one character or {or_else}, got {given!r}")
    return given


def make_reader(stream: Iterable[str], dialect: Dialect) -> Any:  # the reader's class has no public name
    """The standard library's reader of such a file."""
    if dialect.quote is None:
        return csv.reader(stream, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(stream, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)


def _shorten(fields: Sequence[str]) -> str:
    text = " | ".join(fields)
    return repr(text if len(text) <= 80 else text[:77] + "...")
