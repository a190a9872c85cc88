"""Local files as raw rows: csv, json, parquet and text.

Each reader returns the rows of each split, memory-mapped from the cache; with `streaming`, train is a stream
of rows that are read when they are wanted (`streams.py`). Relative paths start at `folder`,
where it is null at the folder that the user started in. Everything is read once to learn the columns' types
and once more to store them, in batches, so files may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from runwright.dataset.readers.csv_rows import csv_columns, csv_splits
from runwright.dataset.readers.delimited import Dialect, delimiter_of, quote_of
from runwright.dataset.readers.encoding import known_encoding
from runwright.dataset.readers.json_rows import json_splits
from runwright.dataset.readers.parquet_rows import parquet_splits
from runwright.dataset.readers.paths import files_of_splits
from runwright.dataset.readers.raw import RawSplit, file_state, kept_rows
from runwright.dataset.readers.stream_readers import csv_stream, json_stream, parquet_stream, text_stream
from runwright.dataset.readers.streams import Sources
from runwright.dataset.readers.text_rows import text_splits


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
    paths = files_of_splits(files, folder)
    types: dict[str, Any] = dict(column_types)
    options = [delimiter, quote, encoding, header, column_names, types]
    if streaming and "train" in paths:
        names, kinds = csv_columns(paths, dialect, types, sampled="train")
        stream = csv_stream(paths.pop("train"), dialect, names["train"], kinds)
        types = {name: kinds[name] for split in paths for name in names[split]}
        options = [*options, types]
        return {"train": stream, **_kept("csv", paths, options, lambda: csv_splits(paths, dialect, types))}
    return _kept("csv", paths, options, lambda: csv_splits(paths, dialect, types))


def read_json(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    encoding: str,
    field: str | None,
    streaming: bool,
) -> Sources:
    """Rows of JSON files: an object on each line, or one list of objects, which may lie in a `field`."""
    encoding = known_encoding(encoding)
    paths = files_of_splits(files, folder)
    stream = None
    if streaming and "train" in paths:
        stream = json_stream(paths.pop("train"), encoding=encoding, field=field)
    others = _kept(
        "json", paths, [encoding, field], lambda: json_splits(paths, encoding=encoding, field=field)
    )
    return others if stream is None else {"train": stream, **others}


def read_parquet(*, files: dict[str, str | list[str] | None], folder: str | None, streaming: bool) -> Sources:
    """Rows of parquet files."""
    paths = files_of_splits(files, folder)
    stream = parquet_stream(paths.pop("train")) if streaming and "train" in paths else None
    others = _kept("parquet", paths, [], lambda: parquet_splits(paths))
    return others if stream is None else {"train": stream, **others}


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
    encoding = known_encoding(encoding)
    paths = files_of_splits(files, folder)
    stream = None
    if streaming and "train" in paths:
        stream = text_stream(paths.pop("train"), encoding=encoding, unit=unit, label_from=label_from)
    others = _kept(
        "text",
        paths,
        [encoding, unit, label_from],
        lambda: text_splits(paths, encoding=encoding, unit=unit, label_from=label_from),
    )
    return others if stream is None else {"train": stream, **others}


def _kept(
    reader: str,
    paths: Mapping[str, Sequence[Path]],
    options: list[Any],
    read: Callable[[], Mapping[str, RawSplit]],
) -> Sources:
    return dict(kept_rows(_key(reader, paths, options), read)) if paths else {}


def _key(reader: str, paths: Mapping[str, Sequence[Path]], options: list[Any]) -> dict[str, Any]:
    files = {split: [file_state(path) for path in paths[split]] for split in paths}
    return {"reader": reader, "files": files, "options": options}
