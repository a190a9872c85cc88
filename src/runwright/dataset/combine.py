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
    by_split: dict[str, dict[str, Dataset]] = {}
    for name, part in parts.items():
        if not isinstance(part, LoadedData) or part.stream is not None:
            problem = "expected a whole data set, as in +dataset@dataset.source.parts.NAME=csv"
            raise ConfigError(f"dataset.source.parts.{name}: {problem}")
        for split, rows in part.splits.items():
            by_split.setdefault(split, {})[name] = rows
    notes = [f"part {name}: {note}" for name, part in parts.items() for note in part.notes]
    states = {split: [[name, r._fingerprint] for name, r in rows.items()] for split, rows in by_split.items()}
    return kept_rows(
        {"reader": "combination", "source_column": source_column, "notes": notes, "splits": states},
        lambda: {split: _joined(rows, source_column, notes, split=split) for split, rows in by_split.items()},
    )


def _joined(
    rows_of: Mapping[str, Dataset], source_column: str | None, notes: list[str], *, split: str
) -> RawSplit:
    schema, left_out = _common_schema(rows_of, split=split)
    if source_column in schema.names:
        problem = f"the parts have a column {source_column!r}; choose another name"
        raise ConfigError(f"dataset.source.source_column: {problem}")
    added = [] if source_column is None else [pa.field(source_column, pa.string())]

    def batches() -> Iterator[pa.RecordBatch]:
        for name, rows in rows_of.items():
            tables: Any = rows.select_columns(schema.names).with_format("arrow").iter(batch_size=BATCH_ROWS)
            for table in tables:
                try:
                    columns = table.cast(schema).columns
                except pa.ArrowInvalid as error:
                    problem = f"part {name!r} holds what the type of other parts cannot hold ({error}); "
                    raise DataError(f"{problem}CastColumns among its cleaning steps makes it text") from error
                columns += [pa.array([name] * table.num_rows, pa.string())] * len(added)
                whole = pa.Table.from_arrays(columns, schema=pa.schema([*schema, *added]))
                yield from whole.combine_chunks().to_batches()

    parts = [{"name": name, "num_rows": len(rows), "about": about_of(rows)} for name, rows in rows_of.items()]
    notes = notes + [f"columns that not every part has were left out: {left_out}"] * bool(left_out)
    return RawSplit(
        schema=pa.schema([*schema, *added]),
        batches=batches(),
        about={"parts": parts, "notes": notes},
        numbers=np.concatenate([row_numbers(rows) for rows in rows_of.values()]),
    )


def _common_schema(rows_of: Mapping[str, Dataset], *, split: str) -> tuple[pa.Schema, str]:
    """The columns that all parts have, and in words which others were left out.

    Whole numbers beside others become decimal ones, short strings long ones; what else differs is an error.
    """
    schemas = {name: rows.features.arrow_schema for name, rows in rows_of.items()}
    names = dict.fromkeys(name for schema in schemas.values() for name in schema.names if name != ROW_ID)
    common = [name for name in names if all(name in schema.names for schema in schemas.values())]
    if not common:
        shown = "; ".join(f"{name}: {', '.join(schema.names)}" for name, schema in schemas.items())
        problem = f"the parts have no column in common; rename some with columns ({shown})"
        raise DataError(problem, split=split)
    alike = [pa.schema([(name, schema.field(name).type) for name in common]) for schema in schemas.values()]
    try:
        schema = pa.unify_schemas(alike, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        problem = f"parts {', '.join(schemas)} have different types in a column: {error}; make them the same "
        problem += "with CastColumns among the cleaning steps of a part"
        raise DataError(problem, split=split) from error
    lost = {name: [c for c in had.names if c not in (*common, ROW_ID)] for name, had in schemas.items()}
    return schema, "; ".join(f"{', '.join(columns)} of {name}" for name, columns in lost.items() if columns)
