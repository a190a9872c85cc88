"""Hashes of rows and columns, the same on every machine and in any storage, and a run's record of them."""

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import ClassLabel, Dataset, Value

from runwright import store
from runwright.dataset.readers.raw import ROW_ID, readers_code
from runwright.errors import listed

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
_VALUES = json.JSONEncoder(ensure_ascii=False, default=str)  # json.dumps makes one for each call

FEW_ROWS = 10_000  # what is made of fewer takes no longer than a file in the cache
MAX_BYTES = 2**30


def kept_array(key: Sequence[Any], num_rows: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """What `compute` makes of so many rows, from the cache where it was made for the same key before."""
    if num_rows < FEW_ROWS:
        return compute()
    name, entry = "array.npy", store.cache_root() / "arrays" / store.digest([readers_code(), *key])
    with store.cached(entry, lambda folder: np.save(folder / name, compute()) or {}, max_bytes=MAX_BYTES):
        return np.load(entry / name, mmap_mode="r")


def column_chunks(rows: Dataset, column: str) -> Iterator[tuple[int, pa.Array]]:
    """(position of the first value, values) of a column in pieces of 10,000 rows."""
    table = rows.select_columns([column]).with_format("arrow")
    start = 0
    for piece in table.iter(batch_size=10_000):
        values: Any = piece.column(column).combine_chunks()  # pyright: ignore[reportAttributeAccessIssue]
        yield start, values
        start += len(values)


def row_numbers(rows: Dataset) -> np.ndarray:
    """The ids of rows, [N] int64, with no Python number for each; their positions where they have none."""
    if ROW_ID not in rows.column_names or not len(rows):
        return np.arange(len(rows))
    return np.concatenate([values.to_numpy() for _, values in column_chunks(rows, ROW_ID)])


def distinct_values(rows: Dataset, column: str) -> tuple[list[Any], np.ndarray]:
    """Values of a column, each once (lists: of each row), and for each row the number of its own, [N] int."""
    if not isinstance(rows.features[column], Value | ClassLabel):
        return rows[column][:], np.arange(len(rows))
    chunks = pa.chunked_array([values for _, values in column_chunks(rows, column)])
    encoded: Any = chunks.dictionary_encode("encode").unify_dictionaries().combine_chunks()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()


def row_hashes(rows: Dataset, columns: Sequence[str]) -> np.ndarray:
    """A hash of each row's values in these columns, [N] uint64."""
    batches: Any = rows.select_columns(list(columns)).iter(batch_size=1000)
    values = chain.from_iterable(zip(*map(batch.get, columns), strict=True) for batch in batches)
    return kept_array(["hashes", rows._fingerprint, *columns], len(rows), lambda: hashes_of(values))


def hashes_of(values: Iterable[Any]) -> np.ndarray:
    """64 bits for each value, [N] uint64; 0 for None."""
    texts = ("" if value is None else _VALUES.encode(value) for value in values)
    contents = (text.encode("utf-8", "surrogatepass") for text in texts)
    hashes = (hashlib.blake2b(text, digest_size=8).digest() if text else bytes(8) for text in contents)
    return np.fromiter(hashes, dtype="S8").view("<u8")


def content_fingerprint(rows: Dataset) -> str:
    """32 hex digits of a hash of all values, column names and types, in row order.

    Column order and whether strings are `string` or `large_string` make no difference.
    """

    def compute() -> np.ndarray:
        digests = b"".join(_column_digest(rows, column) for column in sorted(rows.column_names))
        return np.array(hashlib.blake2b(digests, digest_size=16).hexdigest())

    return kept_array(["content", rows._fingerprint], len(rows), compute).item()


def _column_digest(rows: Dataset, column: str) -> bytes:
    hasher = hashlib.blake2b(json.dumps(column).encode(), digest_size=16)
    for _, chunk in column_chunks(rows, column):
        values: Any = chunk
        kind = values.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        hasher.update(b"string" if is_text else str(kind).encode())
        hasher.update(np.packbits(values.is_null().to_numpy(zero_copy_only=False)).tobytes())
        if is_text:
            filled = pc.fill_null(values, "")
            hasher.update(pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            content = "".join(filled.to_pylist()).encode()
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            zero = False if pa.types.is_boolean(kind) else 0
            array = np.ascontiguousarray(pc.fill_null(values, zero).to_numpy(zero_copy_only=False))
            content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        else:
            content = json.dumps(values.to_pylist(), sort_keys=True, ensure_ascii=False, default=str).encode()
        hasher.update(content)
    return hasher.digest()


logger = logging.getLogger(__name__)

FILE_NAME = "rows.npz"
# About 5 s and 32 MB; beyond it only the fingerprint of a split is kept.
MAX_ROWS = 2_000_000
_EARLIER = "trained before"  # in the file: hashes of rows of train before the data was changed
_ROW = np.dtype([("row_id", "<i8"), ("hash", "<u8")])


@dataclass(frozen=True, kw_only=True, slots=True)
class RowRecord:
    """The rows of a run by split."""

    fingerprints: Mapping[str, str]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # their names
    hashes: Mapping[str, np.ndarray] = field(default_factory=dict)  # of `hash_rows`


def hash_rows(rows: Dataset) -> np.ndarray | None:
    """`row_id` and `hash` of each row over all columns but its id, [N]; None where there are too many."""
    if len(rows) > MAX_ROWS:
        return None
    columns = sorted(name for name in rows.column_names if name != ROW_ID)
    hashes = np.empty(len(rows), _ROW)
    hashes["row_id"] = row_numbers(rows)
    hashes["hash"] = row_hashes(rows, columns)
    return hashes


def write_row_hashes(
    folder: Path, splits: Mapping[str, Dataset], *, trained_before: np.ndarray | None = None
) -> None:
    """Write the hashes of all rows of a run to a file in its folder.

    `trained_before` [M] uint64 are those of rows that it was trained on and that are no longer in train.
    """
    arrays: dict[str, np.ndarray] = {} if trained_before is None else {_EARLIER: trained_before}
    arrays |= {split: hashes for split, rows in splits.items() if (hashes := hash_rows(rows)) is not None}
    with store.written_whole(folder / FILE_NAME) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


def read_row_hashes(folder: Path) -> dict[str, np.ndarray]:
    """The recorded hashes of a run's rows, by split."""
    return {split: hashes for split, hashes in _read(folder / FILE_NAME).items() if split != _EARLIER}


def read_trained(folder: Path) -> np.ndarray:
    """The hashes of all rows that a run was trained on, [M] uint64; empty where they are not known."""
    arrays = _read(folder / FILE_NAME)
    train = arrays.get("train", np.empty(0, _ROW))["hash"]
    return np.union1d(train, arrays.get(_EARLIER, train))


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
                names = [", ".join(sorted({*side.columns[split]} - {ROW_ID})) for side in (before, now)]
                changes[split] = _row_text(before.hashes[split], now.hashes[split])
                if names[0] != names[1]:
                    changes[split] = f"other columns: {names[0]} → {names[1]}"
    return changes


def _row_text(before: np.ndarray, now: np.ndarray) -> str:
    # By content first: rows that stand behind an inserted one only moved.
    new = now["row_id"][~np.isin(now["hash"], before["hash"])]
    old = before["row_id"][~np.isin(before["hash"], now["hash"])]
    changed = np.intersect1d(new, old)
    by_kind = {"changed": changed, "added": np.setdiff1d(new, old), "gone": np.setdiff1d(old, new)}
    texts = [
        f"{len(rows)} row{'s' if len(rows) > 1 else ''} {kind}: row_id {listed(map(str, rows))}"
        for kind, rows in by_kind.items()
        if len(rows)
    ]
    return "; ".join(texts) or "the same rows in another order, number or type"
