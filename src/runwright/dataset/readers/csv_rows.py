"""Delimited files as typed Arrow columns: one pass to learn each column's type, one to convert."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from runwright.dataset.readers import delimited
from runwright.dataset.readers.delimited import Dialect
from runwright.dataset.readers.paths import check_is_text
from runwright.dataset.readers.raw import RawSplit, split_of_files
from runwright.errors import ConfigError, DataError

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # what int64 holds and str(int(x)) gives back: "007" is text
_DECIMAL = re.compile(
    r"-?(?=\.?\d)(0|[1-9]\d*)?\.\d*([eE][+-]?\d{1,2})?|-?(0|[1-9]\d*)[eE][+-]?\d{1,2}", re.ASCII
)
_TYPES = {"string": pa.large_string(), "int": pa.int64(), "float": pa.float64()}


def csv_splits(
    paths: dict[str, list[Path]], dialect: Dialect, column_types: dict[str, Any]
) -> dict[str, RawSplit]:
    """Rows of delimited files; `column_types` fixes the types of some columns."""
    names, kinds = csv_columns(paths, dialect, column_types)
    splits = {}
    for split, files in paths.items():
        schema = csv_schema(names[split], kinds)
        batches_of = partial(_csv_batches, split=split, dialect=dialect, schema=schema, kinds=kinds)
        how = csv_lines(dialect, num_columns=len(schema))
        splits[split] = split_of_files(files, schema, batches_of, split=split, how=how)
    return splits


def csv_columns(
    paths: dict[str, list[Path]],
    dialect: Dialect,
    column_types: dict[str, Any],
    *,
    sampled: str | None = None,
) -> tuple[dict[str, tuple[str, ...]], dict[str, Any]]:
    """The column names of each split, and int, float or string for each column.

    Of the split `sampled` only the first 10,000 rows are read.
    """
    names = {split: _csv_names(split, paths[split], dialect) for split in paths}
    unknown = [name for name in column_types if all(name not in names[split] for split in names)]
    if unknown:
        raise ConfigError(
            f"dataset.source.column_types names {unknown[0]!r}; columns: {list(next(iter(names.values())))}"
        )
    return names, _csv_kinds(paths, names, dialect, column_types, sampled)


def csv_schema(names: Sequence[str], kinds: dict[str, Any]) -> pa.Schema:
    """The Arrow types of columns."""
    return pa.schema([(name, _TYPES[kinds[name]]) for name in names])


def csv_lines(dialect: Dialect, *, num_columns: int) -> dict[str, Any]:
    """What it takes to find the line of a row, see `places.py`."""
    return {"reader": "csv", "dialect": asdict(dialect), "num_columns": num_columns}


def typed_column(values: Sequence[str], kind: pa.DataType) -> pa.Array:
    """The column as Arrow; an empty number is null, an empty string stays a string."""
    strings = pa.array(values, pa.large_string())
    if pa.types.is_large_string(kind):
        return strings
    return pc.cast(pc.if_else(pc.equal(strings, ""), None, strings), kind)


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
    sampled: str | None,
) -> dict[str, Any]:
    kinds: dict[str, Any] = dict(column_types)
    filled: set[str] = set()
    for split, files in paths.items():
        most = 1 if split == sampled else None
        for path in files[:most]:
            for batch in islice(delimited.batches(path, names[split], dialect, split=split), most):
                for name, values in zip(names[split], zip(*batch, strict=True), strict=True):
                    filled |= {name} if any(values) else set()
                    if name not in column_types:
                        kinds[name] = narrowest(values, kinds.get(name, "int"))
    all_names = {name for split in names for name in names[split]}
    return {
        name: kinds.get(name, "string") if name in filled else "string" for name in all_names
    } | column_types


def _csv_batches(
    path: Path, *, split: str, dialect: Dialect, schema: pa.Schema, kinds: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    before = 0
    for batch in delimited.batches(path, schema.names, dialect, split=split):
        columns = []
        for name, values in zip(schema.names, zip(*batch, strict=True), strict=True):
            try:
                columns.append(typed_column(values, _TYPES[kinds[name]]))
            except pa.ArrowInvalid as error:
                raise _not_a_number(values, kinds[name], before, path, split, name) from error
        before += len(batch)
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _not_a_number(
    values: Sequence[str], kind: str, before: int, path: Path, split: str, column: str
) -> DataError:
    row = next((row for row, value in enumerate(values) if not _fits(value, kind)), 0)
    return DataError(
        f"{values[row]!r} is not {kind}, as column_types asks",
        file=str(path), split=split, row=before + row, column=column,
    )  # fmt: skip


def _fits(value: str, kind: str) -> bool:
    try:
        typed_column([value], _TYPES[kind])
    except pa.ArrowInvalid:
        return False
    return True


def narrowest(values: Sequence[str], kind: str) -> str:
    """The narrowest of int, float and string that holds these and what `kind` held; "" fits all."""
    if kind == "int":
        if all(_WHOLE.fullmatch(value) for value in values if value):
            return "int"
        kind = "float"
    if kind == "float" and all(
        _WHOLE.fullmatch(value) or _DECIMAL.fullmatch(value) for value in values if value
    ):
        return "float"
    return "string"
