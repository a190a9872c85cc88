"""Several data sets as one, after one another.

A part is a whole data set with its own columns, cleaning and held-out splits. The combination is stored as
rows of its own, with new row ids, for each state of its parts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright.dataset.fingerprint import row_numbers
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.raw import ROW_ID, RawSplit, about_of, kept_rows
from runwright.dataset.readers.reading import BATCH_ROWS
from runwright.errors import ConfigError, DataError
from runwright.types import Splits


def concat(*, parts: dict[str, Any], source_column: str | None) -> Splits:
    """The rows of all parts, one part after the other, split by split.

    The columns that every part has are kept. `source_column` names a new column with the name of the part
    that a row came from.
    """
    by_split = _by_split(parts)
    schemas, notes, key = {}, {}, {}
    for split, rows_of in by_split.items():
        schemas[split], left_out = _common_schema(rows_of, source_column, split=split)
        notes[split] = [f"part {name}: {note}" for name, part in parts.items() for note in part.notes]
        notes[split] += [f"columns that not every part has were left out: {left_out}"] if left_out else []
        key[split] = {
            "schema": [[field.name, str(field.type)] for field in schemas[split]],
            "parts": [[name, rows._fingerprint] for name, rows in rows_of.items()],
            "notes": notes[split],
        }
    return kept_rows(
        {"reader": "combination", "source_column": source_column, "splits": key},
        lambda: {
            split: _raw(rows, schemas[split], source_column, notes[split]) for split, rows in by_split.items()
        },
    )


def _by_split(parts: Mapping[str, Any]) -> dict[str, dict[str, Dataset]]:
    """The rows of each part, by split and name; raises ConfigError for what is no data set."""
    by_split: dict[str, dict[str, Dataset]] = {}
    for name, part in parts.items():
        if not isinstance(part, LoadedData) or part.stream is not None:
            problem = (
                "expected a data set, as in +dataset@dataset.source.parts.NAME=csv, with streaming=false"
            )
            raise ConfigError(f"dataset.source.parts.{name}: {problem}")
        for split, rows in part.splits.items():
            by_split.setdefault(split, {})[name] = rows
    return by_split


def _raw(
    rows_of: Mapping[str, Dataset], schema: pa.Schema, source_column: str | None, notes: list[str]
) -> RawSplit:
    def batches() -> Iterator[pa.RecordBatch]:
        for name, rows in rows_of.items():
            tables: Any = rows.with_format("arrow").iter(batch_size=BATCH_ROWS)
            for table in tables:
                yield from _in_schema(table, schema, source_column, name).combine_chunks().to_batches()

    parts = [{"name": name, "num_rows": len(rows), "about": about_of(rows)} for name, rows in rows_of.items()]
    ids = np.concatenate([row_numbers(rows) for rows in rows_of.values()])
    return RawSplit(schema=schema, batches=batches(), about={"parts": parts, "notes": notes}, numbers=ids)


# --- columns and types ------------------------------------------------------------------------------------


def _common_schema(
    rows_of: Mapping[str, Dataset], source_column: str | None, *, split: str
) -> tuple[pa.Schema, str]:
    """The schema of the combined rows, and in words which columns were left out.

    Whole numbers beside others become decimal ones, short strings long ones; what else differs is an error.
    """
    schemas = {name: rows.features.arrow_schema for name, rows in rows_of.items()}
    names = dict.fromkeys(name for schema in schemas.values() for name in schema.names if name != ROW_ID)
    common = [name for name in names if all(name in schema.names for schema in schemas.values())]
    if not common:
        shown = "; ".join(f"{name}: {', '.join(schema.names)}" for name, schema in schemas.items())
        problem = f"the parts have no column in common; rename some with columns ({shown})"
        raise DataError(problem, split=split)
    if source_column in common:
        problem = f"the parts have a column {source_column!r}; choose another name"
        raise ConfigError(f"dataset.source.source_column: {problem}")
    alike = [pa.schema([(name, schema.field(name).type) for name in common]) for schema in schemas.values()]
    try:
        schema = pa.unify_schemas(alike, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        problem = f"parts {', '.join(schemas)} have different types in a column: {error}; make them the same "
        problem += "with CastColumns among the cleaning steps of a part"
        raise DataError(problem, split=split) from error
    if source_column is not None:
        schema = schema.append(pa.field(source_column, pa.string()))
    lost = {name: [c for c in had.names if c not in (*common, ROW_ID)] for name, had in schemas.items()}
    return schema, "; ".join(f"{', '.join(columns)} of {name}" for name, columns in lost.items() if columns)


def _in_schema(table: pa.Table, schema: pa.Schema, source_column: str | None, name: str) -> pa.Table:
    columns: list[Any] = []
    for field in schema:
        if field.name == source_column:
            columns.append(pa.array([name] * table.num_rows, pa.string()))
            continue
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowInvalid as error:
            problem = f"part {name!r} holds {column.type} that {field.type}, which other parts have, cannot "
            problem += f"hold ({error}); CastColumns among its cleaning steps makes them text"
            raise DataError(problem, column=field.name) from error
    return pa.Table.from_arrays(columns, schema=schema)
