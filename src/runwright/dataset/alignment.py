"""Columns and types that the parts of a combination have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from datasets import Dataset

from runwright.dataset.checks import missing_column
from runwright.dataset.readers.raw import ROW_ID
from runwright.errors import ConfigError, DataError


def common_schema(
    parts: Mapping[str, Dataset], columns: Sequence[str] | None, source_column: str | None, *, split: str
) -> tuple[pa.Schema, str]:
    """The schema of the combined rows, and which columns were left out, in words.

    Whole numbers beside others become decimal ones, short strings long ones; what else differs is an error.
    """
    schemas = {name: rows.features.arrow_schema for name, rows in parts.items()}
    names = [name for schema in schemas.values() for name in schema.names if name != ROW_ID]
    wanted = [
        name for name in dict.fromkeys(names) if all(name in schema.names for schema in schemas.values())
    ]
    if columns is not None:
        _require(parts, columns, split=split)
        wanted = [name for name in columns if name in wanted]
    if not wanted:
        shown = "; ".join(f"{name}: {', '.join(rows.column_names)}" for name, rows in parts.items())
        raise DataError(
            f"the parts have no column in common; rename some with columns ({shown})", split=split
        )
    if source_column in wanted:
        raise ConfigError(
            f"dataset.source.source_column: the parts have a column {source_column!r}; choose another name"
        )
    fields = [pa.field(name, _type(name, schemas, split=split)) for name in wanted]
    if source_column is not None:
        fields.append(pa.field(source_column, pa.string()))
    lost = {name: [c for c in schema.names if c not in (*wanted, ROW_ID)] for name, schema in schemas.items()}
    left_out = "; ".join(f"{', '.join(c)} of {name}" for name, c in lost.items() if c)
    return pa.schema(fields), left_out if columns is None else ""


def in_schema(table: pa.Table, schema: pa.Schema, source_column: str | None, name: str) -> pa.RecordBatch:
    """Rows of one part, with its name in the source column, as the combination has them."""
    columns: list[Any] = []
    for field in schema:
        if field.name == source_column:
            columns.append(pa.array([name] * table.num_rows, pa.string()))
            continue
        column: Any = table.column(field.name).combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowInvalid as error:
            raise DataError(
                f"part {name!r} holds {column.type} that {field.type}, which other parts have, cannot hold "
                f"({error}); CastColumns among its cleaning steps makes them text",
                column=field.name,
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _require(parts: Mapping[str, Dataset], columns: Sequence[str], *, split: str) -> None:
    for name, rows in parts.items():
        for column in columns:
            if column not in rows.column_names and split == "train":
                error = missing_column(column, rows, split=split)
                raise DataError(f"part {name!r}: {error}") from error


def _type(column: str, schemas: Mapping[str, pa.Schema], *, split: str) -> pa.DataType:
    single = [pa.schema([pa.field(column, schema.field(column).type)]) for schema in schemas.values()]
    try:
        return pa.unify_schemas(single, promote_options="permissive").field(column).type
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        kinds = ", ".join(f"{schema.field(column).type} in {name}" for name, schema in schemas.items())
        raise DataError(
            f"the parts have different types here: {kinds}; make them the same with CastColumns among the "
            f"cleaning steps of a part",
            split=split,
            column=column,
        ) from error
