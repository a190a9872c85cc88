"""Records to predict, read piece by piece from arguments, standard input or files of any size."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from runwright.dataset.encoding import HALF_CHARACTER, holds_half_character
from runwright.errors import DataError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".parquet": "parquet",
}
MAX_FIELD_CHARACTERS = 10_000_000  # longer than any text; the default refuses those over 128 KiB


def read_records(
    source: str | None, *, columns: Sequence[str], format_name: str | None
) -> Iterator[dict[str, Any]]:
    """Records of a file, or of standard input where `source` is None or "-".

    `columns` are the text columns: a line of plain text is the first one; a tab separates a pair.
    Raises DataError naming file, row and column for a record without them, or with a text of no characters.
    """
    if source in (None, "-"):
        yield from _checked(
            _lines(sys.stdin, columns, format_name, "standard input"), columns, "standard input"
        )
        return
    path = Path(source).expanduser()
    if not path.is_file():
        raise DataError("no such file", file=str(path))
    kind = format_name or FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"the format cannot be told from {path.suffix!r}; give --format with one of "
            + ", ".join(dict.fromkeys(FORMATS.values())),
            file=str(path),
        )
    if kind == "parquet":
        yield from _checked(_parquet(path), columns, str(path))
        return
    try:
        with path.open(encoding="utf-8-sig", newline="" if kind in ("csv", "tsv") else None) as stream:
            yield from _checked(_lines(stream, columns, kind, str(path)), columns, str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start}: convert the file first", file=str(path)) from error


def texts_as_records(texts: Iterable[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Records of plain texts; a tab separates the texts of a pair."""
    place = "arguments"
    records = (_text_record(text, columns, row, place) for row, text in enumerate(texts))
    yield from _checked(records, columns, place)


def in_chunks(records: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Lists of at most `size` records."""
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk


def csv_columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns that the records need in CSV together."""
    return list(dict.fromkeys(name for record in records for name in _flat(record)))


class RecordWriter:
    """Writes result records as they come, as JSON lines or CSV.

    The first record sets the columns of CSV, after those that are said to come in some record.
    """

    def __init__(self, stream: TextIO, *, format_name: str, columns: Sequence[str] = ()) -> None:
        self.stream = stream
        self.format_name = format_name
        self.columns = columns
        self._num_rows = 0
        self._csv: csv.DictWriter[str] | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """One record; nested mappings become columns `outer_inner` in CSV.

        Raises DataError for one with a column that CSV has not.
        """
        if self.format_name == "jsonl":
            self.stream.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
            return
        flat = _flat(record)
        if self._csv is None:
            names = list(dict.fromkeys([*self.columns, *flat]))
            self._csv = csv.DictWriter(self.stream, names, lineterminator="\n")
            self._csv.writeheader()
        for name in flat:
            if name not in self._csv.fieldnames:
                raise DataError(
                    "the first record has no such column, and CSV needs the same in all: write JSON lines "
                    "(--output-format jsonl), or give the records as a file (--file)",
                    row=self._num_rows,
                    column=name,
                )
        self._csv.writerow(flat)
        self._num_rows += 1


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[f"{prefix}{name}"] = _cell(value) if isinstance(value, list) else value
    return flat


def _cell(values: list[Any]) -> str:
    """Labels with commas between them; what has parts of its own, as spans have, as JSON."""
    if any(isinstance(value, Mapping | list) for value in values):
        return json.dumps(values, ensure_ascii=False, default=str)
    return ",".join(map(str, values))


def _lines(stream: TextIO, columns: Sequence[str], kind: str | None, place: str) -> Iterator[dict[str, Any]]:
    if kind in ("csv", "tsv"):
        csv.field_size_limit(MAX_FIELD_CHARACTERS)
        yield from csv.DictReader(stream, delimiter="," if kind == "csv" else "\t")
        return
    for row, line in enumerate(stream):
        text = line.rstrip("\r\n")
        if kind == "jsonl" or (kind is None and text.startswith("{")):
            if text.strip():
                yield _json_record(text, row, place)
        else:
            yield _text_record(text, columns, row, place)


def _json_record(line: str, row: int, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a line of JSON: {error}", file=place, row=row) from error
    if not isinstance(record, dict):
        raise DataError(f"expected an object with named texts, given {line[:60]!r}", file=place, row=row)
    return record


def _text_record(text: str, columns: Sequence[str], row: int, place: str) -> dict[str, Any]:
    parts = text.split("\t") if len(columns) > 1 else [text]
    if len(parts) != len(columns):
        raise DataError(
            f"this run takes {len(columns)} texts ({', '.join(columns)}) with a tab between them, "
            f"given {text[:60]!r}",
            file=place,
            row=row,
        )
    return dict(zip(columns, parts, strict=True))


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
    records: Iterable[dict[str, Any]], columns: Sequence[str], place: str
) -> Iterator[dict[str, Any]]:
    for row, record in enumerate(records):
        for column in columns:
            if column not in record:
                raise DataError(
                    f"no such column; this record has {', '.join(map(str, record))} "
                    "(--text-column NAME says which one holds the text)",
                    file=place,
                    row=row,
                    column=column,
                )
        for column, value in record.items():
            if holds_half_character(value):
                raise DataError(HALF_CHARACTER, file=place, row=row, column=column)
        yield record
