"""Files as raw rows: csv, json, parquet and text, compressed or not, here or at an address.

Each reader returns the rows of each split, memory-mapped from the cache; with `streaming`, train is a stream
of rows that are read when they are wanted (`streams.py`). Relative paths start at `folder`,
where it is null at the folder that the user started in. Everything is read once to learn the columns' types
and once more to store them, in batches, so files may be larger than memory.
"""

from __future__ import annotations

from typing import Literal

from runwright.dataset.readers.csv_rows import CsvReader
from runwright.dataset.readers.delimited import Dialect, delimiter_of, quote_of
from runwright.dataset.readers.json_rows import JsonReader
from runwright.dataset.readers.parquet_rows import ParquetReader
from runwright.dataset.readers.paths import files_of_splits
from runwright.dataset.readers.reading import known_encoding
from runwright.dataset.readers.streams import Sources, read_files
from runwright.dataset.readers.text_rows import TextReader


def read_csv(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    delimiter: str,
    quote: str | None,
    encoding: str,
    header: bool,
    column_names: list[str] | None,
    column_types: dict[str, Literal["string", "int", "float"]],
    streaming: bool,
) -> Sources:
    """Rows of delimited text files.

    A column is int or float where every value in every split is, otherwise string, unless `column_types`
    says which; an empty number is null. With a header, `column_names` replaces the names in it. Of a stream
    the first 10,000 values of train count.
    """
    dialect = Dialect(
        delimiter=delimiter_of(delimiter, "dataset.source.delimiter"),
        quote=quote_of(quote, "dataset.source.quote"),
        encoding=known_encoding(encoding),
        header=header,
        column_names=tuple(column_names) if column_names else None,
    )
    reader = CsvReader(dialect=dialect, column_types=dict(column_types))
    return read_files(reader, files_of_splits(files, folder), streaming=streaming)


def read_json(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    encoding: str,
    field: str | None,
    streaming: bool,
) -> Sources:
    """Rows of JSON files: an object on each line, or one list of objects, which may lie in a `field`."""
    reader = JsonReader(encoding=known_encoding(encoding), field=field)
    return read_files(reader, files_of_splits(files, folder), streaming=streaming)


def read_parquet(*, files: dict[str, str | list[str] | None], folder: str | None, streaming: bool) -> Sources:
    """Rows of parquet files."""
    return read_files(ParquetReader(), files_of_splits(files, folder), streaming=streaming)


def read_text(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    encoding: str,
    unit: Literal["line", "file"],
    label_from: Literal["folder", "file"] | None,
    streaming: bool,
) -> Sources:
    """Rows with a column `text`: each line, or each file as a whole.

    With `label_from` a column `label` holds the name of the file's folder, or of the file without its ending.
    """
    reader = TextReader(encoding=known_encoding(encoding), unit=unit, label_from=label_from)
    return read_files(reader, files_of_splits(files, folder), streaming=streaming)
