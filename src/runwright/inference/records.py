"""Records to predict, read one by one from arguments, standard input or files of any size."""

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
    """Dialects of csv and tsv: as the flags say, as in a run's data, or the usual ones.

    `dataset` is that of the run's configuration. Quote "null" means that quotes are ordinary characters.
    """
    usual, source = dict(USUAL), dataset.get("source")
    if isinstance(source, Mapping) and source.get("_target_") == READ_CSV:
        character = delimiter_of(source["delimiter"], "dataset.source.delimiter")
        usual["tsv" if character == "\t" else "csv"] = (character, source["quote"])
    if delimiter is not None:
        delimiter = delimiter_of(delimiter, "--delimiter")
    if quote is not None:
        usual = {kind: (usual_delimiter, None) for kind, (usual_delimiter, _) in usual.items()}
        quote = None if quote == "null" else quote_of(quote, "--quote")
    return {
        kind: Dialect(
            delimiter=delimiter or of_kind[0],
            quote=quote or of_kind[1],
            encoding="utf-8-sig",
            header=True,
            column_names=None,
        )
        for kind, of_kind in usual.items()
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
    address = STANDARD_INPUT if path is None else str(path)
    if path is not None and not path.is_file():
        raise DataError("no such file", file=address)
    kind = format_name
    if path is not None and kind is None and (kind := FORMATS.get(path.suffix.lower())) is None:
        choices = ", ".join(dict.fromkeys(FORMATS.values()))
        problem = f"the format cannot be told from {path.suffix!r}; give --format with one of {choices}"
        raise DataError(problem, file=address)
    if kind == "parquet":
        if path is None:
            raise ConfigError("--format: parquet is not read from standard input, give --file FILE")
        yield from _checked(_parquet(path), columns, address)
        return
    dialect = dialects.get(kind or "")
    with _opened(path, newline="" if dialect else None) as stream:
        at = Position(address=address)
        lines = _decoded(stream, at)
        if dialect:
            records = _delimited(lines, dialect, at)
        elif kind == "jsonl":
            records = _json_records(lines, at)
        else:  # without a format of its own, a line of standard input may be a record too
            records = (
                _json_record(line, row, address)
                if kind is None and line.startswith("{")
                else _text_record(line.rstrip("\r\n"), columns, row, address)
                for row, line in enumerate(lines)
            )
        yield from _checked(records, columns, address)


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


def _decoded(stream: TextIO, at: Position) -> Iterator[str]:
    """The lines, counted in `at`; raises DataError at the first one with bytes that are not UTF-8."""
    for at.num_lines, line in enumerate(stream, start=1):
        try:
            line.encode()  # what could not be decoded was read as surrogates, of which UTF-8 has none
        except UnicodeEncodeError as error:
            problem = "the text is not UTF-8: convert it first"
            raise DataError(problem, file=at.address, line=at.num_lines) from error
        yield line


def as_records(
    values: Iterable[str | Mapping[str, Any]], columns: Columns, *, file: str | None = None
) -> Iterator[dict[str, Any]]:
    """Records of texts, or of records themselves; a tab separates the texts of a pair.

    Raises DataError, which names the `file` they come from, for what is neither and as `read_records` does.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataError(
            f"expected a list of texts or records, given {values!r:.60}; put it into brackets: [...]"
        )

    def as_record(row: int, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            return _text_record(value, columns, row, file)
        if not isinstance(value, Mapping):
            raise DataError(f"expected a text, or a record with named texts, given {value!r:.60}", row=row)
        return dict(value)

    yield from _checked((as_record(row, value) for row, value in enumerate(values)), columns, file)


def texts_of(
    record: Mapping[str, Any], columns: Columns, *, row: int, file: str | None = None
) -> dict[str, Any]:
    """A record's texts by the names that the task has for them; raises DataError where one is missing."""
    texts = {}
    for name, choices in columns.items():
        present = [column for column in choices if column in record]
        if not present:
            others = "".join(f", nor {other!r}" for other in choices[:-1])
            hint = "" if file is None else " (--text-column NAME says which one holds the text)"
            problem = f"no such column{others}; this record has {', '.join(map(str, record))}{hint}"
            raise DataError(problem, file=file, row=row, column=choices[-1])
        texts[name] = next((record[column] for column in present if record[column] is not None), None)
    return texts


def in_chunks(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most `size` records."""
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _delimited(lines: Iterator[str], dialect: Dialect, at: Position) -> Iterator[dict[str, Any]]:
    rows = records_in(lines, dialect, at)
    names = [name.strip() for name in next(rows, [])]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError("the header names this column twice; rename one", file=at.address, column=name)
    for fields in counted(rows, at):
        if len(fields) != len(names):
            at.row -= 1
            raise wrong_number(fields, names, at)
        yield dict(zip(names, fields, strict=True))


def _json_records(lines: Iterator[str], at: Position) -> Iterator[dict[str, Any]]:
    """Records of an object on each line, or of one list of objects, which is read as a whole."""
    numbered = enumerate(lines)
    first = next(((row, line) for row, line in numbered if line.strip()), (0, ""))
    if first[1].lstrip().startswith("["):
        text = "\n" * first[0] + first[1] + "".join(line for _, line in numbered)
        yield from counted(json_list(text, at), at)
        return
    for row, line in chain([first], numbered):
        if line.strip():
            yield _json_record(line, row, at.address)


def _json_record(line: str, row: int, address: str) -> dict[str, Any]:
    line = line.rstrip("\r\n")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a line of JSON: {error}", file=address, row=row) from error
    if not isinstance(record, dict):
        raise DataError(f"expected an object with named texts, given {line[:60]!r}", file=address, row=row)
    return record


def _text_record(text: str, columns: Columns, row: int, address: str | None) -> dict[str, Any]:
    names = [choices[-1] for choices in columns.values()]
    texts = text.split("\t") if len(names) > 1 else [text]
    if len(texts) != len(names):
        expected = f"{len(names)} texts ({', '.join(names)}) with a tab between them"
        raise DataError(f"this run takes {expected}, given {text[:60]!r}", file=address, row=row)
    return dict(zip(names, texts, strict=True))


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
    records: Iterable[dict[str, Any]], columns: Columns, address: str | None
) -> Iterator[dict[str, Any]]:
    for row, record in enumerate(records):
        texts_of(record, columns, row=row, file=address)
        for column, value in record.items():
            if holds_half_character(value):
                raise DataError(HALF_CHARACTER, file=address, row=row, column=column)
        yield record
