"""Local files as raw rows: csv, json, parquet and text.

Each reader returns the rows of each split, memory-mapped from the cache. Relative paths start at `folder`,
where it is null at the folder that the user started in. Everything is read once to learn the columns' types
and once more to store them, in batches, so files may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from runwright.dataset.csv_rows import csv_splits
from runwright.dataset.delimited import Dialect
from runwright.dataset.encoding import known_encoding
from runwright.dataset.json_rows import json_splits
from runwright.dataset.parquet_rows import parquet_splits
from runwright.dataset.paths import files_of_splits
from runwright.dataset.raw import file_state, kept_rows
from runwright.dataset.text_rows import text_splits
from runwright.errors import ConfigError
from runwright.types import Splits

_DELIMITERS = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}


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
) -> Splits:
    """Rows of delimited text files.

    A column is int or float where every value in every split is, otherwise string, unless `column_types`
    says which; an empty number is null. With a header, `column_names` replaces the names in it.
    """
    dialect = Dialect(
        delimiter=_one_character(_DELIMITERS.get(delimiter, delimiter), "delimiter"),
        quote=None if quote is None else _one_character(quote, "quote"),
        encoding=known_encoding(encoding),
        header=header,
        column_names=tuple(column_names) if column_names else None,
    )
    paths = files_of_splits(files, folder)
    options = [delimiter, quote, encoding, header, column_names, dict(column_types)]
    return kept_rows(_key("csv", paths, options), lambda: csv_splits(paths, dialect, dict(column_types)))


def read_json(
    *, files: dict[str, str | list[str] | None], folder: str | None, encoding: str, field: str | None
) -> Splits:
    """Rows of JSON files: an object on each line, or one list of objects, which may lie in a `field`."""
    encoding = known_encoding(encoding)
    paths = files_of_splits(files, folder)
    return kept_rows(
        _key("json", paths, [encoding, field]), lambda: json_splits(paths, encoding=encoding, field=field)
    )


def read_parquet(*, files: dict[str, str | list[str] | None], folder: str | None) -> Splits:
    """Rows of parquet files."""
    paths = files_of_splits(files, folder)
    return kept_rows(_key("parquet", paths, []), lambda: parquet_splits(paths))


def read_text(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    encoding: str,
    unit: Literal["line", "file"],
    label_from: Literal["folder", "file"] | None,
) -> Splits:
    """Rows with a column `text`: each line, or each file as a whole.

    With `label_from` a column `label` holds the name of the file's folder, or of the file without its ending.
    """
    encoding = known_encoding(encoding)
    paths = files_of_splits(files, folder)
    return kept_rows(
        _key("text", paths, [encoding, unit, label_from]),
        lambda: text_splits(paths, encoding=encoding, unit=unit, label_from=label_from),
    )


def _key(reader: str, paths: Mapping[str, Sequence[Path]], options: list[Any]) -> dict[str, Any]:
    files = {split: [file_state(path) for path in paths[split]] for split in paths}
    return {"reader": reader, "files": files, "options": options}


def _one_character(given: str, option: str) -> str:
    if len(given) != 1:
        raise ConfigError(
            f"dataset.source.{option}: expected one character or one of {', '.join(_DELIMITERS)}, "
            f"got {given!r}"
        )
    return given
