"""CSV and its relatives as rows of text, each fault named with its row and line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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


def wrong_number(
    fields: Sequence[str],
    names: Sequence[str],
    file: str,
    *,
    split: str | None,
    row: int,
    line: int | None = None,
) -> DataError:
    """The complaint about a row with too few or too many fields."""
    return DataError(
        f"the row has {len(fields)} fields, expected {len(names)} ({', '.join(names)}): "
        f"{_shorten(fields)}; check delimiter and quote",
        file=file, line=line, split=split, row=row,
    )  # fmt: skip


def records_in(
    lines: Iterable[str], dialect: Dialect, *, file: str, split: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of each record, the header too; blank lines are passed over.

    `file` names their place in complaints.
    """
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


def make_reader(lines: Iterable[str], dialect: Dialect) -> Any:  # the reader's class has no public name
    """The standard library's reader of such a file."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of the process: others may have set another
    if dialect.quote is None:
        return csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)


def _shorten(fields: Sequence[str]) -> str:
    text = " | ".join(fields)
    return repr(text if len(text) <= 80 else text[:77] + "...")
