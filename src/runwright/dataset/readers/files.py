"""Files as raw rows: csv, json, parquet and text, compressed or not, here or at an address.

Each reader returns the rows of each split, memory-mapped from the cache; with `streaming`, train is a stream
of rows that are read when they are wanted (`streams.py`). Relative paths start at `folder`,
where it is null at the folder that the user started in. Everything is read once to learn the columns' types
and once more to store them, in batches, so files may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from runwright.dataset.readers.csv_rows import BATCH_ROWS, CsvReader
from runwright.dataset.readers.delimited import Dialect, delimiter_of, quote_of
from runwright.dataset.readers.json_rows import JsonReader
from runwright.dataset.readers.parquet_rows import ParquetReader
from runwright.dataset.readers.paths import check_is_text, files_of_splits
from runwright.dataset.readers.reading import Reader, ends_lines_with_one_byte, known_encoding
from runwright.dataset.readers.streams import RowStream, Sources, files_fingerprint, read_files
from runwright.dataset.readers.text_rows import TextReader
from runwright.errors import ConfigError

Schemas = Callable[[Mapping[str, Sequence[str]], "str | None"], Mapping[str, pa.Schema]]
"""From the files of each split, and the split of which only the first rows count, to the columns of each."""
SAMPLED = (
    f"the first {BATCH_ROWS:,} rows of the stream are; csv: dataset.source.column_types says what a column is"
)


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
    types: dict[str, Any] = dict(column_types)
    reader = CsvReader(dialect=dialect)

    def schemas(paths: Mapping[str, Sequence[str]], sampled: str | None) -> Mapping[str, pa.Schema]:
        return reader.schemas(paths, types, sampled=sampled)

    options = [delimiter, quote, encoding, header, column_names, types]
    return _sources(reader, files_of_splits(files, folder), schemas, options, streaming=streaming)


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

    def schemas(paths: Mapping[str, Sequence[str]], sampled: str | None) -> Mapping[str, pa.Schema]:
        if sampled is not None:
            reader.require_lines(paths[sampled], split=sampled)
        return dict.fromkeys(paths, reader.schema(paths, sampled=sampled))

    paths = files_of_splits(files, folder)
    return _sources(reader, paths, schemas, [encoding, field], streaming=streaming)


def read_parquet(*, files: dict[str, str | list[str] | None], folder: str | None, streaming: bool) -> Sources:
    """Rows of parquet files."""
    reader = ParquetReader()

    def schemas(paths: Mapping[str, Sequence[str]], _: str | None) -> Mapping[str, pa.Schema]:
        return {split: reader.schema(paths[split], split) for split in paths}

    return _sources(reader, files_of_splits(files, folder), schemas, [], streaming=streaming)


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

    def schemas(paths: Mapping[str, Sequence[str]], _: str | None) -> Mapping[str, pa.Schema]:
        for split, addresses in paths.items():
            for address in addresses:
                check_is_text(address, split=split)
        return dict.fromkeys(paths, reader.schema)

    paths = files_of_splits(files, folder)
    return _sources(reader, paths, schemas, [encoding, unit, label_from], streaming=streaming)


def _sources(
    reader: Reader,
    paths: dict[str, list[str]],
    schemas: Schemas,
    options: list[Any],
    *,
    streaming: bool,
) -> Sources:
    """The rows of each split; with `streaming` those of train as a stream."""
    if not streaming or "train" not in paths:
        return dict(read_files(reader, paths, lambda: schemas(paths, None), options))
    encoding = getattr(reader, "line_encoding", None)
    if encoding is not None and not ends_lines_with_one_byte(encoding):
        raise ConfigError(
            f"dataset.source.encoding: given {encoding!r} with dataset.streaming=true; expected an encoding "
            "in which a line ends with one byte: convert the file to UTF-8"
        )
    found = schemas(paths, "train")
    train = paths.pop("train")
    stream = RowStream(
        files=train,
        schema=found["train"],
        reader=reader,
        fingerprint=files_fingerprint(train),
        types_of=SAMPLED,
        how=reader.how(len(found["train"])),
    )
    options = [*options, [[split, str(found[split])] for split in paths]]
    return {"train": stream, **read_files(reader, paths, lambda: found, options)}
