"""Raw rows as memory-mapped Arrow files, written once for each state of their source files.

Each split's Dataset remembers which files its rows came from, so that a complaint about a row can name
the file: `locate`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetInfo
from datasets.table import MemoryMappedTable

from runwright.dataset import store
from runwright.types import Splits

ROW_ID = "row_id"
FORMAT = 1  # raise when a reader gives other rows for the same file: older entries are then not used
MAX_CACHE_BYTES = 20 * 2**30
BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """What a reader gives for one split.

    `origins` holds (file, number of rows) in row order; a reader may fill it while its batches are read.
    """

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    origins: list[tuple[str, int]] = field(default_factory=list)


def kept_rows(key: Mapping[str, Any], read: Callable[[], Mapping[str, RawSplit]]) -> Splits:
    """The splits that `read` gives, from the cache where the same key was read before."""
    name = store.digest({"format": FORMAT, **key})
    entry = store.cache_root() / "rows" / name
    with store.locked(entry):
        if store.read_manifest(entry) is None:
            store.write_entry(entry, lambda folder: {"key": key, "splits": _write(folder, read())})
            store.evict(entry.parent, max_bytes=MAX_CACHE_BYTES, keep=entry)
        manifest = store.read_manifest(entry) or {"splits": []}
        store.touch(entry)
        return {
            split["name"]: _open(entry / split["file"], f"{name}-{number}", split["origins"])
            for number, split in enumerate(manifest["splits"])
        }


def file_state(path: Path) -> list[Any]:
    """What tells one state of a file from another without reading it."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def files_of(rows: Dataset) -> list[str]:
    """The files that the rows of a raw split came from."""
    return [file for file, _ in origins_of(rows)]


def locate(rows: Dataset, row_id: int) -> tuple[str | None, int]:
    """The file that a raw row came from, None where unknown, and its position there."""
    return place_in(origins_of(rows), row_id)


def place_in(origins: Iterable[tuple[str, int]], row_id: int) -> tuple[str | None, int]:
    """Of (file, number of rows), the file that holds a row, None beyond all of them, and its place there."""
    position = row_id
    for file, num_rows in origins:
        if position < num_rows:
            return file, position
        position -= num_rows
    return None, row_id


def origins_of(rows: Dataset) -> list[tuple[str, int]]:
    """(file, number of rows) in the order of the rows of a raw split; empty where unknown."""
    try:
        return [(file, num_rows) for file, num_rows in json.loads(rows.info.description)["origins"]]
    except (ValueError, KeyError, TypeError):
        return []


def _write(folder: Path, splits: Mapping[str, RawSplit]) -> list[dict[str, Any]]:
    written = []
    for number, (name, split) in enumerate(splits.items()):
        file = f"{number}.arrow"  # a split's name may hold characters that a file name may not
        schema = split.schema.append(pa.field(ROW_ID, pa.int64()))
        position = 0
        with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in split.batches:
                ids = pa.array(range(position, position + batch.num_rows), pa.int64())
                columns = [batch.column(field.name) for field in split.schema]
                writer.write_batch(pa.RecordBatch.from_arrays([*columns, ids], schema=schema))
                position += batch.num_rows
        written.append({"name": name, "file": file, "origins": split.origins})
    return written


def _open(path: Path, fingerprint: str, origins: list[tuple[str, int]]) -> Dataset:
    info = DatasetInfo(description=json.dumps({"origins": origins}))
    return Dataset(MemoryMappedTable.from_file(str(path)), info=info, fingerprint=fingerprint)
