"""Records to predict, read piece by piece from arguments, standard input or files of any size."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from runwright.dataset.readers.csv_rows import Dialect, delimiter_of, quote_of, records_in, wrong_number
from runwright.dataset.readers.json_rows import json_list
from runwright.dataset.readers.reading import HALF_CHARACTER, Position, counted, holds_half_character
from runwright.errors import ConfigError, DataError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".parquet": "parquet",
}
USUAL = {"csv": (",", '"'), "tsv": ("\t", None)}  # delimiter and quote
READ_CSV = "runwright.dataset.readers.files.read_csv"
STANDARD_INPUT = "standard input"

Columns = Mapping[str, Sequence[str]]
"""For each text that a task wants, the columns of a record that may hold it: the first with a value."""


def dialects_of(
    dataset: Mapping[str, Any], *, delimiter: str | None = None, quote: str | None = None
) -> dict[str, Dialect]:
    """How the fields of csv and tsv are told apart: as the flags say, as in a run's data, or the usual way.

    `dataset` is that of the run's configuration. Quote "null" means that quotes are ordinary characters.
    """
    source, own = dataset.get("source"), {}
    if isinstance(source, Mapping) and source.get("_target_") == READ_CSV:
        character = delimiter_of(source["delimiter"], "dataset.source.delimiter")
        own = {"tsv" if character == "\t" else "csv": (character, source["quote"])}
    return {
        kind: Dialect(
            delimiter=of_kind[0] if delimiter is None else delimiter_of(delimiter, "--delimiter"),
            quote=of_kind[1] if quote is None else quote_of(None if quote == "null" else quote, "--quote"),
            encoding="utf-8-sig",
            header=True,
            column_names=None,
        )
        for kind, of_kind in (USUAL | own).items()
    }


def read_records(
    source: str | None, *, columns: Columns, format_name: str | None, dialects: Mapping[str, Dialect]
) -> Iterator[dict[str, Any]]:
    """Records of a file, or of standard input where `source` is None or "-".

    A line of plain text is the first text of `columns`; a tab separates a pair. `dialects` are those of csv
    and tsv. Raises DataError naming file, row and column for a record without its texts, or with a text of
    no characters.
    """
    path = None if source in (None, "-") else Path(source).expanduser()
    place = STANDARD_INPUT if path is None else str(path)
    if path is not None and not path.is_file():
        raise DataError("no such file", file=place)
    kind = format_name if path is None else format_name or _format_of(path)
    if kind == "parquet":
        if path is None:
            raise ConfigError("--format: parquet is not read from standard input, give --file FILE")
        yield from _checked(_parquet(path), columns, place)
        return
    dialect = dialects.get(kind or "")
    with _opened(path, newline="" if dialect else None) as stream:
        lines = _decoded(stream, place)
        if dialect:
            records = _delimited(lines, dialect, place)
        elif kind == "jsonl":
            records = _json_records(lines, place)
        else:
            records = _lines(lines, columns, kind, place)
        yield from _checked(records, columns, place)


def _format_of(path: Path) -> str:
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"the format cannot be told from {path.suffix!r}; give --format with one of "
            + ", ".join(dict.fromkeys(FORMATS.values())),
            file=str(path),
        )
    return kind


@contextmanager
def _opened(path: Path | None, *, newline: str | None) -> Iterator[TextIO]:
    """UTF-8 with or without a byte-order mark, whatever the terminal's encoding; see `_decoded`."""
    how: Any = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": newline}
    if path is not None:
        with path.open(**how) as stream:
            yield stream
        return
    stream = io.TextIOWrapper(sys.stdin.buffer, **how)
    try:
        yield stream
    finally:
        stream.detach()  # else it would close standard input with itself


def _decoded(stream: TextIO, place: str) -> Iterator[str]:
    """The lines; raises DataError at the first one with bytes that are not UTF-8."""
    for number, line in enumerate(stream, start=1):
        try:
            line.encode()  # what could not be decoded was read as surrogates, of which UTF-8 has none
        except UnicodeEncodeError as error:
            raise DataError("the text is not UTF-8: convert it first", file=place, line=number) from error
        yield line


def texts_as_records(texts: Iterable[str], columns: Columns) -> Iterator[dict[str, Any]]:
    """Records of plain texts; a tab separates the texts of a pair."""
    place = "arguments"
    records = (_text_record(text, columns, row, place) for row, text in enumerate(texts))
    yield from _checked(records, columns, place)


def given_records(given: Iterable[str | Mapping[str, Any]], columns: Columns) -> Iterator[dict[str, Any]]:
    """Records of texts, or of records themselves; raises DataError for what is neither, as `read_records`."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise DataError(
            f"expected a list of texts or records, given {given!r:.60}; put it into brackets: [...]"
        )
    records = (_given_record(each, columns, row) for row, each in enumerate(given))
    yield from _checked(records, columns, None)


def texts_of(
    record: Mapping[str, Any], columns: Columns, *, row: int, file: str | None = None
) -> dict[str, Any]:
    """A record's texts by the names that the task has for them; raises DataError where one is missing."""
    texts = {}
    for name, choices in columns.items():
        there = [column for column in choices if column in record]
        if not there:
            hint = "" if file is None else " (--text-column NAME says which one holds the text)"
            raise DataError(
                f"no such column{''.join(f', nor {other!r}' for other in choices[:-1])}; this record has "
                f"{', '.join(map(str, record))}{hint}",
                file=file,
                row=row,
                column=choices[-1],
            )
        texts[name] = next((record[column] for column in there if record[column] is not None), None)
    return texts


def in_chunks(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most `size` records."""
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _delimited(lines: Iterable[str], dialect: Dialect, place: str) -> Iterator[dict[str, Any]]:
    at = Position(address=place)
    rows = records_in(_numbered(lines, at), dialect, at)
    names = [name.strip() for name in next(rows, [])]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError("the header names this column twice; rename one", file=place, column=name)
    for fields in counted(rows, at):
        if len(fields) != len(names):
            at.row -= 1
            raise wrong_number(fields, names, at)
        yield dict(zip(names, fields, strict=True))


def _numbered(lines: Iterable[str], at: Position) -> Iterator[str]:
    for at.num_lines, line in enumerate(lines, start=1):
        yield line


def _lines(lines: Iterable[str], columns: Columns, kind: str | None, place: str) -> Iterator[dict[str, Any]]:
    for row, line in enumerate(lines):
        text = line.rstrip("\r\n")
        if kind is None and text.startswith("{"):
            yield _json_record(text, row, place)
        else:
            yield _text_record(text, columns, row, place)


def _json_records(lines: Iterable[str], place: str) -> Iterator[dict[str, Any]]:
    """Of an object on each line, or of one list of objects, which is read as a whole."""
    numbered = enumerate(lines)
    first = next(((row, line) for row, line in numbered if line.strip()), (0, ""))
    if first[1].lstrip().startswith("["):
        text = "\n" * first[0] + first[1] + "".join(line for _, line in numbered)
        yield from counted(json_list(text, at := Position(address=place)), at)
        return
    for row, line in chain([first], numbered):
        if line.strip():
            yield _json_record(line.rstrip("\r\n"), row, place)


def _json_record(line: str, row: int, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a line of JSON: {error}", file=place, row=row) from error
    if not isinstance(record, dict):
        raise DataError(f"expected an object with named texts, given {line[:60]!r}", file=place, row=row)
    return record


def _text_record(text: str, columns: Columns, row: int, place: str | None) -> dict[str, Any]:
    names = [choices[-1] for choices in columns.values()]
    parts = text.split("\t") if len(names) > 1 else [text]
    if len(parts) != len(names):
        raise DataError(
            f"this run takes {len(names)} texts ({', '.join(names)}) with a tab between them, "
            f"given {text[:60]!r}",
            file=place,
            row=row,
        )
    return dict(zip(names, parts, strict=True))


def _given_record(given: Any, columns: Columns, row: int) -> dict[str, Any]:
    if isinstance(given, str):
        return _text_record(given, columns, row, None)
    if not isinstance(given, Mapping):
        raise DataError(f"expected a text, or a record with named texts, given {given!r:.60}", row=row)
    return dict(given)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pyarrow.lib.ArrowException as error:
        raise DataError(f"not a parquet file: {error}", file=str(path)) from error


def _checked(
    records: Iterable[dict[str, Any]], columns: Columns, place: str | None
) -> Iterator[dict[str, Any]]:
    for row, record in enumerate(records):
        texts_of(record, columns, row=row, file=place)
        for column, value in record.items():
            if holds_half_character(value):
                raise DataError(HALF_CHARACTER, file=place, row=row, column=column)
        yield record
