"""Base classes of cleaning steps, and passes over all rows: rename, filter, take, store."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Value, disable_progress_bars
from datasets.table import MemoryMappedTable

from runwright import store
from runwright.dataset.checks import missing_column, row_error
from runwright.dataset.readers.raw import readers_code
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

disable_progress_bars()  # of datasets: ours shows stages and counts
FEW_ROWS = 1000  # of a process: fewer are changed faster than it starts
num_processes: ContextVar[int] = ContextVar("num_processes", default=1)  # that share the rows of a step


def _processes_for(rows: Dataset) -> int | None:
    count = min(num_processes.get(), len(rows) // FEW_ROWS)
    return count if count > 1 else None


def renamed(splits: Splits, columns: Mapping[str, str]) -> Splits:
    """The splits with columns renamed (new name: old name, a.b for b in a); train must have the old ones."""
    if doubled := [old for old in columns.values() if list(columns.values()).count(old) > 1]:
        raise ConfigError(f"dataset.columns: {doubled[0]!r} is given two names: {', '.join(columns)}")
    result = {}
    for split, rows in splits.items():
        if any(old not in rows.column_names for old in columns.values()):
            rows = rows.flatten()
        mapping = {old: new for new, old in columns.items() if old in rows.column_names and old != new}
        for new, old in columns.items():
            if old not in rows.column_names and not (split != "train" and "train" in splits):
                raise missing_column(old, rows, split=split)
            if new in rows.column_names and old in mapping and new not in mapping:
                problem = "the source has a column of this name already; rename that too"
                raise ConfigError(f"dataset.columns.{new}: {problem}")
        result[split] = rows.rename_columns(mapping) if mapping else rows
    return result


@dataclass(frozen=True, kw_only=True)
class Step:
    """A cleaning step that changes each split on its own, by its `columns` or its one `column`.

    A split without its columns stays as it is. Raises DataError for a column that no split has.
    """

    row_wise = True
    needs_all_columns = True  # False: a split is changed where it has any of them

    @property
    def key(self) -> Any:
        """Everything that the result depends on, for JSON."""
        return [type(self).__name__, asdict(self)]

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        """The changed rows of a split that has these columns."""
        raise NotImplementedError

    def __call__(self, splits: Splits) -> Splits:
        column = getattr(self, "column", None)
        columns = list(getattr(self, "columns", ())) if column is None else [column]
        require_columns_somewhere(splits, columns)
        result = {}
        for split, rows in splits.items():
            present = [column for column in columns if column in rows.column_names]
            applies = len(present) == len(columns) if self.needs_all_columns else bool(present)
            result[split] = self.change_split(rows, present, split) if applies else rows
        return result


@dataclass(frozen=True, kw_only=True)
class TextStep(Step):
    """A step that changes each text of some columns on its own; nulls stay."""

    needs_all_columns = False
    columns: list[str]

    def change(self, text: str) -> str:
        raise NotImplementedError

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        for column in columns:
            dtype = getattr(rows.features[column], "dtype", "")
            if dtype not in {"string", "large_string"}:
                problem = "a cleaning step for text cannot change this"
                raise row_error(problem, rows, 0, split=split, column=column)
            rows = new_values(rows, [column], column, self._changed, kind=dtype, key=self.key)
        return rows

    def _changed(self, text: str | None, _: int) -> str | None:
        return None if text is None else self.change(text)


def lines_of_file(path: str, name: str) -> list[str]:
    """The lines of a small UTF-8 file of the user, which an error calls `name`."""
    try:
        return store.local_path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read: {error}", file=path) from error


class RowFilter(Step):
    """A step that keeps a row where `keeps` is true of its values in all columns."""

    def keeps(self, value: Any) -> bool:
        raise NotImplementedError

    def change_split(self, rows: Dataset, columns: list[str], _: str, /) -> Dataset:
        return filtered(rows, columns, self.keeps, key=self.key)


def filtered(rows: Dataset, columns: list[str], keeps: Callable[[Any], bool], *, key: Any) -> Dataset:
    """The rows whose values in all these columns `keeps` is true for; `key` identifies that function."""
    return rows.filter(
        lambda *values: [all(map(keeps, row)) for row in zip(*values, strict=True)],
        input_columns=columns,
        batched=True,
        num_proc=_processes_for(rows),
        new_fingerprint=fingerprint(rows, columns, key),
    )


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
        num_proc=_processes_for(rows),
        new_fingerprint=fingerprint(rows, [*columns, into], key),
    )


def require_splits(splits: Splits, names: Sequence[str], *, option: str) -> None:
    if unknown := [split for split in names if split not in splits]:
        raise ConfigError(f"{option} names {unknown[0]!r}; splits: {', '.join(splits)}")


def take(rows: Dataset, positions: Sequence[int] | np.ndarray) -> Dataset:
    """The rows at these positions, under a fingerprint that depends on nothing else."""
    positions = np.asarray(positions, dtype=np.int64)
    name = store.digest([rows._fingerprint, store.bytes_digest(positions)])
    return rows.select(positions, keep_in_memory=True, new_fingerprint=name)


def code_of(function: Any) -> str:
    """A hash of the sources of a class or function, with the package it lies in: `datasets` goes by names."""
    return store.sources_digest(store.sources_of(Path(inspect.getfile(function)), function.__module__))


def renamed_for(rows: Dataset, code: str) -> Dataset:
    """The same rows under a fingerprint that changes with the code that will change them."""
    same = copy.copy(rows)
    same._fingerprint = store.digest([rows._fingerprint, code])
    return same


def contiguous(rows: Dataset) -> Dataset:
    """The same rows stored in their order, so that reading them needs no list of positions any more."""
    if rows._indices is None:
        return rows
    name = store.digest([rows._fingerprint, "contiguous"])
    positions = rows._indices.column(0).to_numpy().astype(np.int64)  # unsigned ones have no negative steps
    if not rows.cache_files or (np.diff(positions) <= 0).any():
        return rows.flatten_indices(new_fingerprint=name)
    # One stored batch after the other: flatten_indices casts every row on its own, in 50 times the time.
    path = Path(rows.cache_files[0]["filename"]).parent / f"cache-{name}.arrow"
    if not path.is_file():
        table: pa.Table = rows.data.table
        start = 0
        with (
            store.written_whole(path) as unfinished,
            pa.OSFile(str(unfinished), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            for batch in table.to_batches():
                first, last = np.searchsorted(positions, [start, start + batch.num_rows])
                writer.write_batch(batch.take(pa.array(positions[first:last] - start)))
                start += batch.num_rows
    return Dataset(MemoryMappedTable.from_file(str(path)), info=rows.info.copy(), fingerprint=name)


def require_columns_somewhere(splits: Splits, columns: Sequence[str]) -> None:
    for column in columns:
        if all(column not in rows.column_names for rows in splits.values()):
            split, rows = next(iter(splits.items()))
            raise missing_column(column, rows, split=split)


def fingerprint(rows: Dataset, columns: Sequence[str], key: Any) -> str:
    """The name under which datasets keeps the result of a step."""
    return store.digest([rows._fingerprint, readers_code(), list(columns), key])
