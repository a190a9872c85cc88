"""Parquet files as rows; a position in one is found by its row groups."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from runwright.dataset.readers.addresses import open_bytes
from runwright.dataset.readers.reading import Files, Position, Reader
from runwright.errors import DataError

_BATCH_ROWS = 1000


class ParquetReader(Reader):
    """Rows of parquet files, which have no lines."""

    leaves_out = True
    types_of = "values of this type cannot be kept"

    def rows(self, at: Position, _: Sequence[str], /) -> Iterator[tuple[Any, ...]]:
        skipped, group = at.row, 0
        with _open_parquet(at.address, at.split) as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            while group < len(sizes) and skipped >= sizes[group]:
                skipped -= sizes[group]
                group += 1
            groups = list(range(group, len(sizes)))
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups) if groups else ():
                rest = batch.slice(min(skipped, batch.num_rows))
                skipped -= batch.num_rows - rest.num_rows
                yield from zip(*(column.to_pylist() for column in rest.columns), strict=True)

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        """The columns that all files of a split have; raises DataError where they differ."""
        result: dict[str, pa.Schema] = {}
        for split, addresses in files.items():
            for address in addresses:
                with _open_parquet(address, split) as file:
                    fields = [(field.name, _plain(field.type)) for field in file.schema_arrow]
                    schema = pa.schema(fields, metadata=_class_names(file.schema_arrow))
                twice = [name for name in schema.names if schema.names.count(name) > 1]
                if twice:
                    problem = "the file has this column twice"
                    raise DataError(problem, file=address, split=split, column=twice[0])
                first = result.setdefault(split, schema)
                if not schema.equals(first, check_metadata=True):
                    what = (
                        "columns {} differ from {}"
                        if schema != first
                        else "names of classes differ from those"
                    )
                    problem = f"{what.format(_described(schema), _described(first))} in "
                    raise DataError(problem + PurePosixPath(addresses[0]).name, file=address, split=split)
        return result


@contextmanager
def _open_parquet(address: str, split: str | None) -> Iterator[pq.ParquetFile]:
    with open_bytes(address, split=split) as stream:
        if not stream.read(1):
            raise DataError("the file is empty", file=address, split=split)
        try:
            with pq.ParquetFile(stream) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"not a readable parquet file: {error}", file=address, split=split) from error


def _class_names(schema: pa.Schema) -> dict[str, str] | None:
    """The names of classes that the library datasets writes beside columns of ids, in its own form."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info") or {}
    features = (about.get("features") or {}).items()
    kept = {name: feature for name, feature in features if '"ClassLabel"' in json.dumps(feature)}
    return {"huggingface": json.dumps({"info": {"features": kept}})} if kept else None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves where the file stores them as a dictionary; null: left out."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        Features.from_arrow_schema(pa.schema([("", kind)]))
    except ValueError:  # a map, for example
        return pa.null()
    return pa.large_string() if kind == pa.string_view() else kind


def _described(schema: pa.Schema) -> str:
    return "(" + ", ".join(f"{field.name}: {field.type}" for field in schema) + ")"
