"""Hashes of rows and of their columns, the same on every machine and in any storage; nearly equal texts."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.readers.raw import ROW_ID

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
_BETWEEN = re.compile(r"[\W_]+")


def column_chunks(rows: Dataset, column: str) -> Iterator[tuple[int, pa.Array]]:
    """(position of the first value, values) of a column in pieces of 10,000 rows."""
    table = rows.select_columns([column]).with_format("arrow")
    start = 0
    for piece in table.iter(batch_size=10_000):
        values: Any = piece.column(column).combine_chunks()  # pyright: ignore[reportAttributeAccessIssue]
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        yield start, values
        start += len(values)


def column_numbers(rows: Dataset, column: str) -> np.ndarray:
    """A column of whole numbers without nulls, [N] int64, with no Python number for each."""
    pieces = [values.to_numpy(zero_copy_only=False) for _, values in column_chunks(rows, column)]
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, dtype=np.int64)


def row_numbers(rows: Dataset) -> np.ndarray:
    """The ids of rows, [N] int64; their positions where they have none."""
    return column_numbers(rows, ROW_ID) if ROW_ID in rows.column_names else np.arange(len(rows))


def row_keys(
    rows: Dataset, columns: Sequence[str], *, size: int = 16, form: Callable[[Any], Any] | None = None
) -> Iterator[bytes]:
    """A hash of `size` bytes of each row's values in these columns, or of `form(value)` of each."""
    batches: Any = rows.select_columns(list(columns)).iter(batch_size=1000)
    for batch in batches:
        for values in zip(*(batch[column] for column in columns), strict=True):
            yield key_of(values if form is None else [*map(form, values)], size=size)


def key_of(values: Sequence[Any], *, size: int = 16) -> bytes:
    """A hash of `size` bytes of some values."""
    text = json.dumps(values, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def bare(text: str) -> str:
    """Letters and digits only, in one case and one form; a text that has none of them stays as it is."""
    if text.isascii():
        return _BETWEEN.sub("", text).lower() or text.strip()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _BETWEEN.sub("", folded) or text.strip()


def content_fingerprint(rows: Dataset) -> str:
    """32 hex digits of a hash of all values, column names and types, in row order.

    Column order and whether strings are `string` or `large_string` make no difference.
    """
    return combined(column_fingerprints(rows))


def column_fingerprints(rows: Dataset) -> dict[str, str]:
    """The same hash for each column alone."""
    return {column: _column(rows, column) for column in rows.column_names}


def combined(columns: Mapping[str, str]) -> str:
    """The fingerprint of rows from those of their columns."""
    whole = hashlib.blake2b(digest_size=16)
    for column in sorted(columns):
        whole.update(bytes.fromhex(columns[column]))
    return whole.hexdigest()


def _column(rows: Dataset, column: str) -> str:
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
            text = json.dumps(values.to_pylist(), sort_keys=True, ensure_ascii=False, default=str)
            content = text.encode()
        hasher.update(content)
    return hasher.hexdigest()
