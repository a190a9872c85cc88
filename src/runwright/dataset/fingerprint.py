"""A hash of what rows hold: the same on every machine, however the rows are stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.checks import column_chunks

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers


def content_fingerprint(rows: Dataset) -> str:
    """32 hex digits of a hash of all values, column names and types, in row order.

    Column order and whether strings are `string` or `large_string` make no difference.
    """
    return combined(column_fingerprints(rows))


def column_fingerprints(rows: Dataset) -> dict[str, str]:
    """The same of each column alone."""
    return {column: _column(rows, column) for column in rows.column_names}


def combined(columns: Mapping[str, str]) -> str:
    """The fingerprint of rows from those of their columns."""
    whole = hashlib.blake2b(digest_size=16)
    for column in sorted(columns):
        whole.update(bytes.fromhex(columns[column]))
    return whole.hexdigest()


def _column(rows: Dataset, column: str) -> str:
    hasher = hashlib.blake2b(json.dumps(column).encode(), digest_size=16)
    for _, values in column_chunks(rows, column):
        hasher.update(_kind(values.type))
        hasher.update(np.packbits(values.is_null().to_numpy(zero_copy_only=False)).tobytes())
        hasher.update(_content(values))
    return hasher.hexdigest()


def _kind(kind: pa.DataType) -> bytes:
    return b"string" if _is_text(kind) else str(kind).encode()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _content(values: Any) -> bytes:
    if _is_text(values.type):
        filled = pc.fill_null(values, "")
        lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8")
        return lengths.tobytes() + "".join(filled.to_pylist()).encode()
    if (
        pa.types.is_integer(values.type)
        or pa.types.is_floating(values.type)
        or pa.types.is_boolean(values.type)
    ):
        numbers = pc.fill_null(values, 0 if not pa.types.is_boolean(values.type) else False)
        array = np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False))
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    return json.dumps(values.to_pylist(), sort_keys=True, ensure_ascii=False, default=str).encode()
