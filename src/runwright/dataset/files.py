"""Local files as raw rows: csv, json, parquet and text.

Each reader returns the rows of each split, memory-mapped from the cache. Relative paths start at the folder
that the user started in. Everything is read once to learn the columns' types and once more to store them,
in batches, so files may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from runwright.dataset import delimited
from runwright.dataset.delimited import Dialect
from runwright.dataset.paths import check_is_text, files_of_splits
from runwright.dataset.raw import RawSplit, file_state, kept_rows
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

_DELIMITERS = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}


def read_csv(
    *,
    files: dict[str, Any],
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
        encoding=_known_encoding(encoding),
        header=header,
        column_names=tuple(column_names) if column_names else None,
    )
    paths = files_of_splits(files)
    key = {
        "reader": "csv",
        "files": {split: [file_state(path) for path in paths[split]] for split in paths},
        "options": [dialect.delimiter, quote, encoding, header, column_names, dict(column_types)],
    }
    return kept_rows(key, lambda: _csv_splits(paths, dialect, dict(column_types)))


def _csv_splits(
    paths: dict[str, list[Path]], dialect: Dialect, column_types: dict[str, Any]
) -> dict[str, RawSplit]:
    names = {split: _csv_names(split, paths[split], dialect) for split in paths}
    unknown = [name for name in column_types if all(name not in names[split] for split in names)]
    if unknown:
        raise ConfigError(
            f"dataset.source.column_types names {unknown[0]!r}; columns: {list(next(iter(names.values())))}"
        )
    kinds = _csv_kinds(paths, names, dialect, column_types)
    splits = {}
    for split, files in paths.items():
        schema = pa.schema([(name, delimited.TYPES[kinds[name]]) for name in names[split]])
        origins: list[tuple[str, int]] = []
        batches = _csv_batches(split, files, dialect, schema, kinds, origins)
        splits[split] = RawSplit(schema=schema, batches=batches, origins=origins)
    return splits


def _csv_names(split: str, files: Sequence[Path], dialect: Dialect) -> tuple[str, ...]:
    for path in files:
        check_is_text(path, split=split)
    names = delimited.column_names(files[0], dialect, split=split)
    for path in files[1:]:
        other = delimited.column_names(path, dialect, split=split)
        if other != names:
            raise DataError(
                f"columns {list(other)} differ from {list(names)} in {files[0].name}",
                file=str(path),
                split=split,
            )
    return names


def _csv_kinds(
    paths: dict[str, list[Path]],
    names: dict[str, tuple[str, ...]],
    dialect: Dialect,
    column_types: dict[str, Any],
) -> dict[str, Any]:
    kinds: dict[str, Any] = dict(column_types)
    filled: set[str] = set()
    for split, files in paths.items():
        for path in files:
            for batch in delimited.batches(path, names[split], dialect, split=split):
                for name, values in zip(names[split], zip(*batch, strict=True), strict=True):
                    filled |= {name} if any(values) else set()
                    if name not in column_types:
                        kinds[name] = delimited.narrowest(values, kinds.get(name, "int"))
    all_names = {name for split in names for name in names[split]}
    return {
        name: kinds.get(name, "string") if name in filled else "string" for name in all_names
    } | column_types


def _csv_batches(
    split: str,
    files: Sequence[Path],
    dialect: Dialect,
    schema: pa.Schema,
    kinds: dict[str, Any],
    origins: list[tuple[str, int]],
) -> Iterator[pa.RecordBatch]:
    for path in files:
        before = 0
        for batch in delimited.batches(path, schema.names, dialect, split=split):
            columns = []
            for name, values in zip(schema.names, zip(*batch, strict=True), strict=True):
                try:
                    columns.append(delimited.typed(values, kinds[name]))
                except pa.ArrowInvalid as error:
                    raise _not_a_number(values, kinds[name], before, path, split, name) from error
            before += len(batch)
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
        if not before:
            raise DataError("the file has no rows", file=str(path), split=split)
        origins.append((str(path), before))


def _not_a_number(
    values: Sequence[str], kind: str, before: int, path: Path, split: str, column: str
) -> DataError:
    row = next(row for row, value in enumerate(values) if delimited.narrowest([value], kind) == "string")
    return DataError(
        f"{values[row]!r} is not {kind}, as column_types asks",
        file=str(path), split=split, row=before + row, column=column,
    )  # fmt: skip


def _one_character(given: str, option: str) -> str:
    if len(given) != 1:
        raise ConfigError(
            f"dataset.source.{option}: expected one character or one of {', '.join(_DELIMITERS)}, "
            f"got {given!r}"
        )
    return given


def _known_encoding(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        raise ConfigError(f"dataset.source.encoding: Python knows no encoding {encoding!r}") from None
    return encoding
