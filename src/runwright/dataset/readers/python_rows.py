"""Rows of Python objects, kept in the cache as parquet files under a hash of their content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, disable_progress_bars

from runwright import store
from runwright.dataset.fingerprint import content_fingerprint
from runwright.dataset.readers.addresses import PYTHON_ROWS
from runwright.dataset.readers.raw import MAX_CACHE_BYTES
from runwright.errors import ConfigError, DataError

EXPECTED = "a pandas DataFrame, a datasets.Dataset, or a dictionary of these by split"


def keep_rows(data: Any) -> dict[str, Path]:
    """The parquet file of each split; the same rows have the same files, whatever gave them.

    Rows that are no dictionary are train. The index of a DataFrame is left out. Raises ConfigError for data
    of another kind, DataError for a column whose values have no type in common.
    """
    by_split = data if isinstance(data, Mapping) else {"train": data}
    if odd := [split for split in by_split if not re.fullmatch(r"\w[\w-]*", str(split))]:
        raise ConfigError(f"data: given the split {odd[0]!r}, expected a name such as validation")
    splits = {str(split): _as_rows(rows, split=str(split)) for split, rows in by_split.items()}
    disable_progress_bars()

    def write(folder: Path) -> dict[str, Any]:
        for split, rows in splits.items():
            rows.to_parquet(str(folder / f"{split}.parquet"))
        return {"splits": list(splits)}

    key = {
        split: [content_fingerprint(rows), [getattr(kind, "names", None) for kind in rows.features.values()]]
        for split, rows in splits.items()
    }
    entry = store.cache_root() / PYTHON_ROWS / store.digest(key)
    with store.cached(entry, write, max_bytes=MAX_CACHE_BYTES):
        return {split: entry / f"{split}.parquet" for split in splits}


def _as_rows(rows: Any, *, split: str) -> Dataset:
    if type(rows).__module__.partition(".")[0] == "pandas" and hasattr(rows, "columns"):
        try:
            texts = {name: object for name, kind in rows.dtypes.items() if str(kind) == "category"}
            return Dataset.from_pandas(rows.astype(texts), preserve_index=False)
        except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataError(f"the DataFrame has values of no common type: {error}", split=split) from error
    if not isinstance(rows, Dataset):
        raise ConfigError(f"data: given {type(rows).__name__} for {split}, expected {EXPECTED}")
    return rows
