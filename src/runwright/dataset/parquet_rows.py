"""Parquet files as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from runwright.dataset.raw import BATCH_ROWS, RawSplit
from runwright.errors import DataError


def parquet_splits(paths: Mapping[str, Sequence[Path]]) -> dict[str, RawSplit]:
    """Rows of parquet files; all files of a split must have the same columns."""
    splits = {}
    for split, files in paths.items():
        schema = parquet_schema(files, split)
        origins: list[tuple[str, int]] = []
        batches = _arrow(split, files, schema, origins)
        splits[split] = RawSplit(schema=schema, batches=batches, origins=origins)
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


def _arrow(
    split: str, files: Sequence[Path], schema: pa.Schema, origins: list[tuple[str, int]]
) -> Iterator[pa.RecordBatch]:
    for path in files:
        with open_parquet(path, split) as file:
            if not file.metadata.num_rows:
                raise DataError("the file has no rows", file=str(path), split=split)
            try:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    yield pa.RecordBatch.from_arrays(
                        [column.cast(kind) for column, kind in zip(batch.columns, schema.types, strict=True)],
                        schema=schema,
                    )
            except (pa.ArrowException, OSError) as error:
                raise unreadable(path, split, error) from error
            origins.append((str(path), file.metadata.num_rows))


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
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _described(schema: pa.Schema) -> str:
    return "(" + ", ".join(f"{field.name}: {field.type}" for field in schema) + ")"
