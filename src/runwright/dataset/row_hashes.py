"""The record of a run's rows, to compare with later: fingerprints by split and column, a hash of each row."""

from __future__ import annotations

import logging
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset

from runwright.dataset.fingerprint import row_keys, row_numbers
from runwright.dataset.readers.raw import ROW_ID
from runwright.errors import listed
from runwright.store import written_whole

logger = logging.getLogger(__name__)

FILE_NAME = "rows.npz"
# About 5 s and 32 MB; beyond it only the fingerprint of a split is kept.
MAX_ROWS = 2_000_000
_EARLIER = "trained_before"  # in the file: hashes of rows of train before the data was changed


@dataclass(frozen=True, kw_only=True, slots=True)
class RowHashes:
    """Ids and hashes of the rows of one split, in their order."""

    row_ids: np.ndarray  # [N] int64
    hashes: np.ndarray  # [N] uint64


@dataclass(frozen=True, kw_only=True, slots=True)
class RowRecord:
    """The rows of a run by split."""

    fingerprints: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # fingerprints by column
    hashes: Mapping[str, RowHashes] = field(default_factory=dict)  # without splits of too many rows


def hash_rows(rows: Dataset) -> RowHashes | None:
    """The hash of each row over all columns but its id; None where there are too many."""
    if len(rows) > MAX_ROWS:
        return None
    columns = sorted(name for name in rows.column_names if name != ROW_ID)
    hashes = np.frombuffer(b"".join(row_keys(rows, columns, size=8)), dtype="<u8").astype(np.uint64)
    return RowHashes(row_ids=row_numbers(rows), hashes=hashes)


def write_row_hashes(
    folder: Path, splits: Mapping[str, Dataset], *, trained_before: np.ndarray | None = None
) -> None:
    """Write the hashes of all rows of a run to a file in its folder.

    `trained_before` [M] uint64 are those of rows that it was trained on and that are no longer in train.
    """
    arrays: dict[str, np.ndarray] = {} if trained_before is None else {_EARLIER: trained_before}
    for split, rows in splits.items():
        if (record := hash_rows(rows)) is not None:
            arrays |= {f"{split}/row_id": record.row_ids, f"{split}/hash": record.hashes}
    with written_whole(folder / FILE_NAME) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


def read_row_hashes(folder: Path) -> dict[str, RowHashes]:
    """The recorded hashes of a run's rows, by split."""
    arrays = _read(folder / FILE_NAME)
    splits = [name.removesuffix("/hash") for name in arrays if name.endswith("/hash")]
    return {
        split: RowHashes(row_ids=arrays[f"{split}/row_id"], hashes=arrays[f"{split}/hash"])
        for split in splits
    }


def read_trained(folder: Path) -> np.ndarray:
    """The hashes of all rows that a run was trained on, [M] uint64; empty where they are not known."""
    arrays, none = _read(folder / FILE_NAME), np.empty(0, dtype=np.uint64)
    return np.union1d(arrays.get("train/hash", none), arrays.get(_EARLIER, none))


def _read(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s cannot be read, rows are not compared one by one: %s", file, error)
        return {}


def row_changes(before: RowRecord, now: RowRecord) -> dict[str, str]:
    """The differences of the rows in words, by split; splits with the same rows are left out."""
    changes = {}
    for split in {**before.fingerprints, **now.fingerprints}:
        old, new = before.fingerprints.get(split), now.fingerprints.get(split)
        if old is None or new is None:
            changes[split] = f"the split is {'gone' if new is None else 'new'}"
        elif old != new:
            changes[split] = f"other rows (fingerprint {old[:12]} → {new[:12]})"
            if split in before.hashes and split in now.hashes:
                columns = before.columns.get(split, {}), now.columns.get(split, {})
                if all(columns) and columns[0].keys() != columns[1].keys():
                    names = [", ".join(sorted({*side} - {ROW_ID})) for side in columns]
                    changes[split] = f"other columns: {names[0]} → {names[1]}"
                else:
                    changes[split] = _row_text(before.hashes[split], now.hashes[split], *columns)
    return changes


def _row_text(
    before: RowHashes, now: RowHashes, old_columns: Mapping[str, str], new_columns: Mapping[str, str]
) -> str:
    was = dict(zip(before.row_ids.tolist(), before.hashes.tolist(), strict=True))
    is_now = dict(zip(now.row_ids.tolist(), now.hashes.tolist(), strict=True))
    # By content first: rows that stand behind an inserted one only moved.
    added, gone = _surplus(is_now, was), _surplus(was, is_now)
    changed = {*added} & {*gone}
    edited = [name for name, value in new_columns.items() if value != old_columns.get(name, value)]
    where = f" in {', '.join(sorted(edited))}" if edited and len(added) == len(gone) == len(changed) else ""
    by_kind = {
        f"changed{where}": sorted(changed),
        "added": [row for row in added if row not in changed],
        "gone": [row for row in gone if row not in changed],
    }
    texts = [
        f"{len(rows)} row{'s' * (len(rows) > 1)} {kind}: row_id {listed(map(str, rows))}"
        for kind, rows in by_kind.items()
        if rows
    ]
    if texts:
        return "; ".join(texts)
    same_order = np.array_equal(before.row_ids, now.row_ids) and was == is_now
    return "other types of the same values" if same_order else "the same rows in another order"


def _surplus(rows: Mapping[int, int], others: Mapping[int, int]) -> list[int]:
    """The ids of rows whose content the others have not, or not as often, ascending."""
    left = Counter(rows.values())
    left.subtract(others.values())
    surplus = []
    for row, value in sorted(rows.items()):
        if left[value] > 0 and others.get(row) != value:
            left[value] -= 1
            surplus.append(row)
    return surplus
