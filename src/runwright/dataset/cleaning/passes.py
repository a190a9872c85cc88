"""Passes over all rows: what kinds of cleaning steps have in common, and renaming, taking, comparing rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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


def each_with(splits: Splits, columns: Sequence[str], change: Callable[[Dataset, str], Dataset]) -> Splits:
    """The splits, those with all these columns changed; raises DataError for a column that no split has."""
    _require_somewhere(splits, columns)
    return {
        split: change(rows, split) if set(columns) <= set(rows.column_names) else rows
        for split, rows in splits.items()
    }


def keep_rows(splits: Splits, columns: Sequence[str], keeps: Callable[[Any], bool], *, key: Any) -> Splits:
    """The rows whose values in all these columns `keeps` is true for; `key` says what it does."""

    def kept(rows: Dataset, split: str) -> Dataset:  # noqa: ARG001 - as each_with calls it
        return rows.filter(
            lambda *values: [all(map(keeps, row)) for row in zip(*values, strict=True)],
            input_columns=list(columns),
            batched=True,
            new_fingerprint=fingerprint(rows, columns, key),
        )

    return each_with(splits, columns, kept)


@dataclass(frozen=True, kw_only=True)
class TextStep:
    """A step that changes each text of some columns on its own; nulls stay."""

    row_wise = True
    columns: list[str]

    def change(self, text: str) -> str:
        """The text as it is to be."""
        raise NotImplementedError

    @property
    def key(self) -> Any:
        """Everything that the new texts depend on, for JSON."""
        return [type(self).__name__, asdict(self)]

    def __call__(self, splits: Splits) -> Splits:
        _require_somewhere(splits, self.columns)
        return {split: self._changed(rows, split) for split, rows in splits.items()}

    def _changed(self, rows: Dataset, split: str) -> Dataset:
        present = [column for column in self.columns if column in rows.column_names]
        for column in present:
            if getattr(rows.features[column], "dtype", None) not in {"string", "large_string"}:
                raise row_error(
                    "a cleaning step for text cannot change this", rows, 0, split=split, column=column
                )
        if not present:
            return rows

        def change_batch(*batch: list[str | None]) -> dict[str, list[str | None]]:
            changed = [[None if text is None else self.change(text) for text in texts] for texts in batch]
            return dict(zip(present, changed, strict=True))

        return rows.map(
            change_batch,
            input_columns=present,
            batched=True,
            features=rows.features,
            new_fingerprint=fingerprint(rows, present, self.key),
        )


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """A step that keeps a row by its values in some columns; splits without the columns stay whole."""

    row_wise = True
    columns: list[str]

    def keeps(self, value: Any) -> bool:
        """Whether the row may stay."""
        raise NotImplementedError

    def __call__(self, splits: Splits) -> Splits:
        return keep_rows(splits, self.columns, self.keeps, key=[type(self).__name__, asdict(self)])


@dataclass(frozen=True, kw_only=True)
class ValueFilter:
    """The same with one column."""

    row_wise = True
    column: str

    def keeps(self, value: Any) -> bool:
        """Whether the row may stay."""
        raise NotImplementedError

    def __call__(self, splits: Splits) -> Splits:
        return keep_rows(splits, [self.column], self.keeps, key=[type(self).__name__, asdict(self)])


def new_values(
    rows: Dataset, columns: Sequence[str], into: str, change: Callable[..., Any], *, kind: str, key: Any
) -> Dataset:
    """A column `into` of what `change` makes of each row's values in these columns and its position."""
    features = rows.features.copy()
    features[into] = Value(kind)
    return rows.map(
        lambda *batch: {into: list(map(change, *batch))},
        input_columns=list(columns),
        with_indices=True,
        batched=True,
        features=features,
        new_fingerprint=fingerprint(rows, [*columns, into], key),
    )


@dataclass(frozen=True, kw_only=True)
class RepeatFilter:
    """A step that drops rows with the same key: all but the first in splits named in `within`.

    With `across`, train also loses the rows whose key an evaluation split has, so that those stay as
    published and unseen. A split without the columns stays whole.
    """

    columns: list[str]
    within: list[str]
    across: bool

    def keys(self, rows: Dataset) -> Iterator[bytes]:
        """What is compared, for each row."""
        raise NotImplementedError

    def __call__(self, splits: Splits) -> Splits:
        _require_somewhere(splits, self.columns)
        require_splits(splits, self.within, option="within")
        keyed = {split: rows for split, rows in splits.items() if set(self.columns) <= set(rows.column_names)}
        others = [split for split in keyed if split != "train"] if self.across else []
        held_out = {key for split in others for key in self.keys(keyed[split])}
        result = dict(splits)
        for split, rows in keyed.items():
            seen = set(held_out) if split == "train" else set()
            positions = []
            for position, key in enumerate(self.keys(rows)):
                if key not in seen:
                    positions.append(position)
                if split in self.within:
                    seen.add(key)
            if len(positions) < len(rows):
                result[split] = take(rows, positions)
        return result


def require_splits(splits: Splits, names: Sequence[str], *, option: str) -> None:
    """Raise ConfigError unless there are splits of these names."""
    unknown = [split for split in names if split not in splits]
    if unknown:
        raise ConfigError(f"{option} names {unknown[0]!r}; splits: {', '.join(splits)}")


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
    start = 0
    with (
        store.written_whole(path) as unfinished,
        pa.OSFile(str(unfinished), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        for batch in table.to_batches():
            first, last = np.searchsorted(positions, [start, start + batch.num_rows])
            writer.write_batch(batch.take(pa.array(positions[first:last].astype(np.int64) - start)))
            start += batch.num_rows


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


def _require_somewhere(splits: Splits, columns: Sequence[str]) -> None:
    for column in columns:
        if all(column not in rows.column_names for rows in splits.values()):
            split, rows = next(iter(splits.items()))
            raise missing_column(column, rows, split=split)


def fingerprint(rows: Dataset, columns: Sequence[str], key: Any) -> str:
    """The name under which datasets keeps the result of a step."""
    return store.digest([rows._fingerprint, readers_code(), list(columns), key])
