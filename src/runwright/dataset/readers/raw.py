"""Raw rows as memory-mapped Arrow files, written once for each state of their source files.

Each split's Dataset remembers what its rows were read from, so that a complaint about a row can name it
(`places.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetInfo
from datasets.table import MemoryMappedTable

from runwright import store
from runwright.errors import DataError
from runwright.store import sources_digest
from runwright.types import Splits

ROW_ID = "row_id"
MAX_CACHE_BYTES = 20 * 2**30
BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some consecutive rows of a combination."""

    name: str
    num_rows: int
    about: Mapping[str, Any]  # what the part was read from, see `places.py`
    row_ids: np.ndarray | None  # [num_rows] int64, the ids of its rows in the part; None: their places


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """What a reader gives for one split.

    `origins` holds (file, number of rows) in row order and `how` what it takes to find a row's line there;
    of a combination `parts`. A reader may fill them while its batches are read.
    """

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    origins: list[tuple[str, int]] = field(default_factory=list)
    how: Mapping[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)


def kept_rows(key: Mapping[str, Any], read: Callable[[], Mapping[str, RawSplit]]) -> Splits:
    """The splits that `read` gives, from the cache where the same key was read before."""
    name = store.digest({"code": readers_code(), **key})
    entry = store.cache_root() / "rows" / name
    with store.locked(entry):
        if store.read_manifest(entry) is None:
            store.write_entry(entry, lambda folder: {"key": key, "splits": _write(folder, read(), key)})
            store.evict(entry.parent, max_bytes=MAX_CACHE_BYTES, keep=entry)
        manifest = store.read_manifest(entry) or {"splits": []}
        store.touch(entry)
        return {
            split["name"]: _open(entry, split, fingerprint=f"{name}-{number}")
            for number, split in enumerate(manifest["splits"])
        }


def with_row_id(schema: pa.Schema, *, split: str, file: str | None) -> pa.Schema:
    """The columns with that of the row's number; raises DataError where there is one of its name."""
    if ROW_ID in schema.names:
        raise DataError(
            "this name is taken: rows are numbered in such a column; rename yours in the file (csv: "
            "dataset.source.column_names)",
            file=file, split=split, column=ROW_ID,
        )  # fmt: skip
    return schema.append(pa.field(ROW_ID, pa.int64()))


def _write(folder: Path, splits: Mapping[str, RawSplit], key: Mapping[str, Any]) -> list[dict[str, Any]]:
    written = []
    files = key.get("files", {})  # of each split the states of its files
    for number, (name, split) in enumerate(splits.items()):
        file = f"{number}.arrow"  # a split's name may hold characters that a file name may not
        schema = with_row_id(split.schema, split=name, file=files.get(name, [[None]])[0][0])
        position = 0
        with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in split.batches:
                ids = pa.array(range(position, position + batch.num_rows), pa.int64())
                columns = [batch.column(field.name) for field in split.schema]
                writer.write_batch(pa.RecordBatch.from_arrays([*columns, ids], schema=schema))
                position += batch.num_rows
        about = {"files": split.origins, "how": dict(split.how)}
        parts = [_keep_part(folder, f"{number}-{place}.npy", part) for place, part in enumerate(split.parts)]
        written.append({"name": name, "file": file, "about": {"parts": parts} if parts else about})
    return written


def _keep_part(folder: Path, file: str, part: Part) -> dict[str, Any]:
    if part.row_ids is not None:
        np.save(folder / file, part.row_ids, allow_pickle=False)
    kept = None if part.row_ids is None else file
    return {"name": part.name, "num_rows": part.num_rows, "about": part.about, "row_ids": kept}


def _open(entry: Path, split: Mapping[str, Any], *, fingerprint: str) -> Dataset:
    about = dict(split["about"])
    if "parts" in about:
        about["parts"] = [
            part | {"row_ids": part["row_ids"] and str(entry / part["row_ids"])} for part in about["parts"]
        ]
    table = MemoryMappedTable.from_file(str(entry / split["file"]))
    return Dataset(table, info=DatasetInfo(description=json.dumps(about)), fingerprint=fingerprint)


@cache
def readers_code() -> str:
    """A hash of the code that makes rows, the whole room, as it was when this process first asked."""
    return sources_digest(Path(__file__).parents[1])
