"""Parquet files as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from runwright.dataset.readers.raw import BATCH_ROWS, RawSplit, split_of_files
from runwright.errors import DataError


def parquet_splits(paths: Mapping[str, Sequence[Path]]) -> dict[str, RawSplit]:
    """Rows of parquet files; all files of a split must have the same columns."""
    splits = {}
    for split, files in paths.items():
        schema = parquet_schema(files, split)
        batches_of = partial(_arrow, split=split, schema=schema)
        splits[split] = split_of_files(files, schema, batches_of, split=split, how={})
    return splits


def parquet_schema(files: Sequence[Path], split: str) -> pa.Schema:
    """The columns of all files; raises DataError where they differ."""
    found: pa.Schema | None = None
    for path in files:
        with open_parquet(path, split) as file:
            schema = pa.schema([(field.name, _plain(field.type)) for field in file.schema_arrow])
        twice = [name for name in schema.names if schema.names.count(name) > 1]
        if twice:
            raise DataError("the file has this column twice", file=str(path), split=split, column=twice[0])
        if found is not None and schema != found:
            raise DataError(
                f"columns {_described(schema)} differ from {_described(found)} in {files[0].name}",
                file=str(path), split=split,
            )  # fmt: skip
        found = schema
    assert found is not None  # a split has at least one file
    return found


def _arrow(path: Path, *, split: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with open_parquet(path, split) as file:
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield pa.RecordBatch.from_arrays(
                    [column.cast(kind) for column, kind in zip(batch.columns, schema.types, strict=True)],
                    schema=schema,
                )
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, split, error) from error


def open_parquet(path: Path, split: str) -> pq.ParquetFile:
    """The opened file; raises DataError where it is none."""
    if not path.stat().st_size:
        raise DataError("the file is empty", file=str(path), split=split)
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, split, error) from error


def unreadable(path: Path, split: str, error: Exception) -> DataError:
    """The complaint about a file that cannot be read."""
    return DataError(f"not a readable parquet file: {error}", file=str(path), split=split)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves where the file stores them as a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if kind == pa.string_view() else kind


def _described(schema: pa.Schema) -> str:
    return "(" + ", ".join(f"{field.name}: {field.type}" for field in schema) + ")"
