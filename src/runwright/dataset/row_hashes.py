"""A hash of each row, so that two versions of a data set can be compared row by row later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from runwright.dataset.raw import ROW_ID

FILE_NAME = "rows.npz"
# About 5 s and 32 MB; beyond it only the fingerprint of a split is kept.
MAX_ROWS = 2_000_000
BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RowHashes:
    """What the rows of one split are, in their order."""

    row_ids: np.ndarray  # [N] int64
    hashes: np.ndarray  # [N] uint64


def hash_rows(rows: Dataset) -> RowHashes | None:
    """The hash of each row over all columns but its id; None where there are too many."""
    if len(rows) > MAX_ROWS:
        return None
    columns = sorted(name for name in rows.column_names if name != ROW_ID)
    hashes = np.empty(len(rows), dtype=np.uint64)
    place = 0
    batches: Any = rows.iter(batch_size=BATCH_ROWS)
    for batch in batches:
        for values in zip(*(batch[name] for name in columns), strict=True):
            text = json.dumps(values, ensure_ascii=False, default=str)
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            hashes[place] = int.from_bytes(digest, "little")
            place += 1
    return RowHashes(row_ids=np.asarray(rows[ROW_ID][:], dtype=np.int64), hashes=hashes)


def write_row_hashes(folder: Path, splits: Mapping[str, Dataset]) -> None:
    """Keep the hashes of all rows of a run in its folder, unless they are there."""
    file = folder / FILE_NAME
    if file.is_file():
        return
    arrays: dict[str, np.ndarray] = {}
    for split, rows in splits.items():
        found = hash_rows(rows)
        if found is not None:
            arrays |= {f"{split}/row_id": found.row_ids, f"{split}/hash": found.hashes}
    temporary = folder / f".{FILE_NAME}.{os.getpid()}.tmp"
    with temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
    temporary.replace(file)


def read_row_hashes(folder: Path) -> dict[str, RowHashes]:
    """The hashes that a run kept, by split."""
    file = folder / FILE_NAME
    if not file.is_file():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        splits = [name.removesuffix("/hash") for name in arrays.files if name.endswith("/hash")]
        return {
            split: RowHashes(row_ids=arrays[f"{split}/row_id"], hashes=arrays[f"{split}/hash"])
            for split in splits
        }
