"""Passes over all rows: rename columns, and for cleaning steps change texts, keep some rows, compare rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Value
from datasets.table import MemoryMappedTable

from runwright import store
from runwright.dataset.checks import column_chunks, missing_column, row_error
from runwright.dataset.readers.raw import readers_code
from runwright.errors import ConfigError
from runwright.types import Splits

_INDICATORS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def renamed(splits: Splits, columns: Mapping[str, str]) -> Splits:
    """The splits with columns renamed (new name: old name); train must have the old ones."""
    doubled = [old for old in columns.values() if list(columns.values()).count(old) > 1]
    if doubled:
        raise ConfigError(f"dataset.columns: {doubled[0]!r} is given two names: {', '.join(columns)}")
    result = {}
    for split, rows in splits.items():
        mapping = {old: new for new, old in columns.items() if old in rows.column_names and old != new}
        for new, old in columns.items():
            if old not in rows.column_names and not (split != "train" and "train" in splits):
                raise missing_column(old, rows, split=split)
            if new in rows.column_names and old in mapping and new not in mapping:
                raise ConfigError(
                    f"dataset.columns.{new}: the source has a column of this name already; rename that too"
                )
        result[split] = rows.rename_columns(mapping) if mapping else rows
    return result


def change_texts(splits: Splits, columns: Sequence[str], change: Callable[[str], str], *, key: Any) -> Splits:
    """Apply `change` to the texts of these columns, nulls excepted; `key` says what `change` does."""
    _require_somewhere(splits, columns)
    return {split: _changed(rows, split, columns, change, key) for split, rows in splits.items()}


def keep_rows(
    splits: Splits, columns: Sequence[str], keeps: Callable[[tuple[Any, ...]], bool], *, key: Any
) -> Splits:
    """The rows for whose values in these columns `keeps` is true; splits without the columns stay whole."""
    _require_somewhere(splits, columns)
    kept = dict(splits)
    for split, rows in splits.items():
        if set(columns) <= set(rows.column_names):
            kept[split] = rows.filter(
                lambda *values: [keeps(row) for row in zip(*values, strict=True)],
                input_columns=list(columns),
                batched=True,
                new_fingerprint=_fingerprint(rows, columns, key),
            )
    return kept


def join_indicators(splits: Splits, columns: Sequence[str], into: str, separator: str) -> Splits:
    """A column `into` that names, for each row, the columns that are 1 or true there.

    Raises DataError naming the row for a value that is neither that nor 0 or false.
    """
    _require_somewhere(splits, columns)
    joined = dict(splits)
    for split, rows in splits.items():
        if set(columns) <= set(rows.column_names):

            def join(*batch: Sequence[Any], rows: Dataset = rows, split: str = split) -> dict[str, list[str]]:
                *values, positions = batch
                marks = [
                    [
                        _is_marked(value, rows, at, split, name)
                        for value, at in zip(of, positions, strict=True)
                    ]
                    for name, of in zip(columns, values, strict=True)
                ]
                found = [
                    separator.join(name for name, marked in zip(columns, row, strict=True) if marked)
                    for row in zip(*marks, strict=True)
                ]
                return {into: found}

            joined[split] = rows.map(
                join,
                input_columns=list(columns),
                with_indices=True,
                batched=True,
                new_fingerprint=_fingerprint(rows, columns, ["join", into, separator]),
            )
    return joined


def new_values(
    rows: Dataset, column: str, change: Callable[[Any, int], Any], *, kind: str, key: Any
) -> Dataset:
    """The column with what `change` makes of each value, of this type; it gets the value and its position."""
    features = rows.features.copy()
    features[column] = Value(kind)
    return rows.map(
        lambda values, positions: {column: list(map(change, values, positions))},
        input_columns=[column],
        with_indices=True,
        batched=True,
        features=features,
        new_fingerprint=_fingerprint(rows, [column], key),
    )


def drop_repeats(
    splits: Splits,
    keys_of: Callable[[Dataset, Sequence[str]], Iterator[bytes]],
    columns: Sequence[str],
    *,
    within: Sequence[str],
    across: bool,
) -> Splits:
    """The first row of each key in splits named in `within`; with `across`, train without others' keys.

    Keys are made of `columns`; a split without them stays whole.
    """
    _require_somewhere(splits, columns)
    unknown = [split for split in within if split not in splits]
    if unknown:
        raise ConfigError(f"within names {unknown[0]!r}; splits: {', '.join(splits)}")
    keyed = {split: rows for split, rows in splits.items() if set(columns) <= set(rows.column_names)}
    others = [split for split in keyed if split != "train"] if across else []
    held_out = {key for split in others for key in keys_of(keyed[split], columns)}
    result = dict(splits)
    for split, rows in keyed.items():
        seen = set(held_out) if split == "train" else set()
        positions = []
        for position, key in enumerate(keys_of(rows, columns)):
            if key not in seen:
                positions.append(position)
            if split in within:
                seen.add(key)
        if len(positions) < len(rows):
            result[split] = take(rows, positions)
    return result


def take(rows: Dataset, positions: Sequence[int] | np.ndarray) -> Dataset:
    """The rows at these positions."""
    chosen = np.asarray(positions, dtype=np.int64)
    name = store.digest([rows._fingerprint, store.bytes_digest(chosen)])
    return rows.select(chosen, keep_in_memory=True, new_fingerprint=name)


def column_numbers(rows: Dataset, column: str) -> np.ndarray:
    """A column of whole numbers without nulls, [N] int64, with no Python number for each."""
    pieces = [values.to_numpy(zero_copy_only=False) for _, values in column_chunks(rows, column)]
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, dtype=np.int64)


def contiguous(rows: Dataset) -> Dataset:
    """The same rows stored in their order, so that reading them needs no list of positions any more.

    `flatten_indices` does the same in 50 times the time: it casts every row on its own.
    """
    if rows._indices is None:
        return rows
    name = store.digest([rows._fingerprint, "contiguous"])
    positions = rows._indices.column(0).to_numpy()
    if not rows.cache_files or (np.diff(positions) <= 0).any():
        return rows.flatten_indices(new_fingerprint=name)
    path = Path(rows.cache_files[0]["filename"]).parent / f"cache-{name}.arrow"
    if not path.is_file():
        _write_positions(rows.data.table, positions, path)
    return Dataset(MemoryMappedTable.from_file(str(path)), info=rows.info.copy(), fingerprint=name)


def _write_positions(table: pa.Table, positions: np.ndarray, path: Path) -> None:
    """Write the rows at these ascending positions, one stored batch after the other."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    start = 0
    with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches():
            first, last = np.searchsorted(positions, [start, start + batch.num_rows])
            writer.write_batch(batch.take(pa.array(positions[first:last].astype(np.int64) - start)))
            start += batch.num_rows
    unfinished.replace(path)


def count_changed(before: Dataset, after: Dataset) -> int:
    """In how many rows any value differs; both have the same rows and columns."""
    if before.column_names != after.column_names:
        return len(after)
    different = np.zeros(len(before), dtype=bool)
    for column in before.column_names:
        for (start, old), (_, new) in zip(
            column_chunks(before, column), column_chunks(after, column), strict=True
        ):
            if not old.equals(new):
                unequal = [x != y for x, y in zip(old.to_pylist(), new.to_pylist(), strict=True)]
                different[start : start + len(old)] |= np.array(unequal)
    return int(different.sum())


def _changed(
    rows: Dataset, split: str, columns: Sequence[str], change: Callable[[str], str], key: Any
) -> Dataset:
    present = [column for column in columns if column in rows.column_names]
    for column in present:
        if getattr(rows.features[column], "dtype", None) not in {"string", "large_string"}:
            raise row_error(
                "a cleaning step for text cannot change this", rows, 0, split=split, column=column
            )
    if not present:
        return rows

    def change_batch(*batch: list[str | None]) -> dict[str, list[str | None]]:
        changed = [[None if text is None else change(text) for text in texts] for texts in batch]
        return dict(zip(present, changed, strict=True))

    return rows.map(
        change_batch,
        input_columns=present,
        batched=True,
        features=rows.features,
        new_fingerprint=_fingerprint(rows, present, key),
    )


def _is_marked(value: Any, rows: Dataset, position: int, split: str, column: str) -> bool:
    marked = _INDICATORS.get(str(value).lower())
    if marked is None:
        raise row_error(
            f"expected 1 or 0, true or false, given {value!r}; MapValues or DropValues can go before",
            rows, position, split=split, column=column,
        )  # fmt: skip
    return marked


def _require_somewhere(splits: Splits, columns: Sequence[str]) -> None:
    for column in columns:
        if all(column not in rows.column_names for rows in splits.values()):
            split, rows = next(iter(splits.items()))
            raise missing_column(column, rows, split=split)


def _fingerprint(rows: Dataset, columns: Sequence[str], key: Any) -> str:
    return store.digest([rows._fingerprint, readers_code(), list(columns), key])
