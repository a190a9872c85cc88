"""Readers of streams: CSV, JSON Lines, parquet, plain text, and the hub, each from any row on.

Files of lines are read as bytes, so that a row's place is a number of bytes and going on is one seek.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from runwright.dataset.readers.csv_rows import csv_lines, csv_schema, typed_column
from runwright.dataset.readers.delimited import MAX_FIELD_CHARACTERS, Dialect, make_reader, wrong_number
from runwright.dataset.readers.json_rows import json_lines, json_object, json_schema
from runwright.dataset.readers.parquet_rows import open_parquet, parquet_schema, unreadable
from runwright.dataset.readers.paths import check_is_text
from runwright.dataset.readers.streams import BLOCK_ROWS, LEARN_ROWS, RowStream, Values, files_fingerprint
from runwright.dataset.readers.text_rows import label_of_file, text_lines, whole_text
from runwright.errors import ConfigError, DataError

_AFTER_RETURN = re.compile(rb"(?<=\r)(?=[^\n])")
SPLIT = "train"  # the only one that is streamed


def csv_stream(
    files: Sequence[Path], dialect: Dialect, names: Sequence[str], kinds: Mapping[str, Any]
) -> RowStream:
    """Delimited files; `kinds` says int, float or string for each column."""
    _require_line_encoding(dialect.encoding)
    return RowStream(
        files=files,
        schema=csv_schema(names, dict(kinds)),
        read_file=partial(_csv_rows, dialect=dialect, names=names),
        convert=lambda values, field: typed_column(values, field.type),
        how=csv_lines(dialect, num_columns=len(names)),
        fingerprint=files_fingerprint(files),
    )


def json_stream(files: Sequence[Path], *, encoding: str, field: str | None) -> RowStream:
    """Files with a JSON object on each line; columns and types are those of the first 10,000 rows."""
    _require_line_encoding(encoding)
    for path in files:
        check_is_text(path, split=SPLIT)
        with path.open("rb") as stream:
            is_list = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        if is_list or field is not None:
            raise ConfigError(
                f"dataset.streaming: {path} is one JSON value, which can only be read as a whole; write it "
                "as JSON Lines (an object on each line), or set dataset.streaming=false"
            )
    rows = [row for row, _ in islice(_json_objects(files[0], 0, 0, encoding=encoding), LEARN_ROWS)]
    schema = json_schema(rows, files[0], split=SPLIT)
    return RowStream(
        files=files,
        schema=schema,
        read_file=partial(_json_rows, encoding=encoding, names=schema.names),
        convert=_as_arrow,
        how=json_lines(encoding),
        fingerprint=files_fingerprint(files),
    )


def parquet_stream(files: Sequence[Path]) -> RowStream:
    """Parquet files; a place in one is found by its row groups."""
    schema = parquet_schema(files, SPLIT)
    return RowStream(
        files=files,
        schema=schema,
        read_file=_parquet_rows,
        convert=_as_arrow,
        how={},
        fingerprint=files_fingerprint(files),
    )


def text_stream(
    files: Sequence[Path],
    *,
    encoding: str,
    unit: Literal["line", "file"],
    label_from: Literal["folder", "file"] | None,
) -> RowStream:
    """A text for each line or each file, and a label from the folder's or file's name."""
    if unit == "line":
        _require_line_encoding(encoding)
    for path in files:
        check_is_text(path, split=SPLIT)
    names = ["text"] if label_from is None else ["text", "label"]
    return RowStream(
        files=files,
        schema=pa.schema([(name, pa.large_string()) for name in names]),
        read_file=partial(_text_rows, encoding=encoding, unit=unit, label_from=label_from),
        convert=_as_arrow,
        how=text_lines(unit),
        fingerprint=files_fingerprint(files),
    )


# --- rows of one file from a place on -----------------------------------------------------------------


def _csv_rows(
    path: Path, row: int, offset: int, *, dialect: Dialect, names: Sequence[str]
) -> Iterator[tuple[Values, int]]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of the process: others may have set another
    lines = _Lines(path, dialect.encoding, offset, row=row)
    reader = make_reader(lines, dialect)
    header = dialect.header and not offset
    try:
        for fields in reader:
            if not fields:
                continue
            if header:
                header = False
                continue
            if len(fields) < len(names) or (len(fields) > len(names) and not dialect.lenient):
                raise wrong_number(fields, names, path, split=SPLIT, row=lines.row)
            yield fields[: len(names)], lines.offset
            lines.row += 1
    except csv.Error as error:
        raise DataError(
            f"{error}; where quotes are ordinary characters, set quote to null",
            file=str(path), split=SPLIT, row=lines.row,
        ) from error  # fmt: skip


def _json_objects(
    path: Path, row: int, offset: int, *, encoding: str
) -> Iterator[tuple[dict[str, Any], int]]:
    lines = _Lines(path, encoding, offset, row=row)
    for line in lines:
        if line.strip():
            yield json_object(line, path, split=SPLIT, row=lines.row), lines.offset
            lines.row += 1


def _json_rows(
    path: Path, row: int, offset: int, *, encoding: str, names: Sequence[str]
) -> Iterator[tuple[Values, int]]:
    for value, after in _json_objects(path, row, offset, encoding=encoding):
        yield [value.get(name) for name in names], after


def _text_rows(
    path: Path, row: int, offset: int, *, encoding: str, unit: str, label_from: str | None
) -> Iterator[tuple[Values, int]]:
    label = [] if label_from is None else [label_of_file(path, label_from)]
    if unit == "file":
        if not row:
            yield [whole_text(path, encoding, split=SPLIT), *label], path.stat().st_size
        return
    lines = _Lines(path, encoding, offset, row=row)
    for line in lines:
        yield [line.rstrip("\r\n"), *label], lines.offset
        lines.row += 1


def _parquet_rows(path: Path, row: int, offset: int) -> Iterator[tuple[Values, int]]:
    with open_parquet(path, SPLIT) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        group = 0
        while group < len(sizes) and row >= sizes[group]:
            row -= sizes[group]
            group += 1
        groups = list(range(group, len(sizes)))
        try:
            for batch in file.iter_batches(batch_size=BLOCK_ROWS, row_groups=groups) if groups else ():
                skipped = min(row, batch.num_rows)
                row -= skipped
                columns = [column.to_pylist() for column in batch.slice(skipped).columns]
                yield from ((values, offset) for values in zip(*columns, strict=True))
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, SPLIT, error) from error


class _Lines:
    """The lines of a text file from a byte on; `offset` is where the line after the last one begins."""

    def __init__(self, path: Path, encoding: str, offset: int, *, row: int) -> None:
        self.path = path
        self.encoding = encoding
        self.offset = offset
        self.row = row  # counted by whoever knows what a row is

    def __iter__(self) -> Iterator[str]:
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            for line in _lines_of(stream):
                # a byte-order mark is none but at the beginning of the file
                encoding = "utf-8" if self.offset and self.encoding == "utf-8-sig" else self.encoding
                try:
                    text = line.decode(encoding)
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"the row is not {encoding} (byte 0x{line[error.start : error.start + 1].hex()}); "
                        "set dataset.source.encoding to the file's own",
                        file=str(self.path), split=SPLIT, row=self.row,
                    ) from error  # fmt: skip
                self.offset += len(line)
                yield text


def _lines_of(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end with a line feed, a carriage return or both, as text files have them."""
    for line in stream:
        yield from _AFTER_RETURN.split(line) if b"\r" in line else [line]


def _as_arrow(values: list[Any], field: pa.Field) -> pa.Array:
    return pa.array(values, field.type)


def _require_line_encoding(encoding: str) -> None:
    if "\n".encode(encoding) != b"\n" and encoding != "utf-8-sig":
        raise ConfigError(
            f"dataset.source.encoding: given {encoding!r} with dataset.streaming=true; expected an encoding "
            "in which a line ends with one byte: convert the file to UTF-8"
        )
