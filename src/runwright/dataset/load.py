"""From a source's raw rows to the splits of a run: rename, clean, hold out, take a subset; seeded draws.

A source may be several data sets after one another, each a whole one with its own columns, cleaning and
held-out splits. They are stored as rows of their own, with new row ids, for each state of the parts.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Value

from runwright import store
from runwright.dataset.checks import missing_column
from runwright.dataset.cleaning import passes
from runwright.dataset.cleaning.columns import as_text
from runwright.dataset.cleaning.passes import contiguous, renamed, take
from runwright.dataset.fingerprint import content_fingerprint, distinct_values, kept_array, row_numbers
from runwright.dataset.readers.raw import ROW_ID, RawSplit, about_of, files_of, kept_rows, notes_of
from runwright.dataset.readers.reading import BATCH_ROWS
from runwright.dataset.readers.streams import RowStream
from runwright.errors import ConfigError, DataError, listed
from runwright.types import NonNegativeFloat, PositiveInt, Splits

USUAL_SPLITS = ("train", "validation", "test")  # splits, in the order in which they are listed


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedData:
    """The rows of a run, their fingerprints, and notes on how they were made."""

    splits: Splits  # each row carries `row_id`, its position in the source's split
    fingerprints: dict[str, str]  # of each split's content
    notes: list[str]  # what was changed, dropped or held out, one sentence each
    sources: dict[str, list[str]]  # of each split of the source: its files, or NAME@COMMIT of a hub
    warnings: list[str] = field(default_factory=list)  # rows that may spoil training or metrics
    stream: RowStream | None = None  # train, where it is read as a stream; it is not in `splits` then
    shuffle_buffer: int = 1  # rows of the stream that are shuffled together


def load_splits(
    seed: int,
    *,
    source: Any,
    columns: dict[str, str],
    cleaning: list[Any],
    holdout: dict[str, NonNegativeFloat],
    stratify_by: str | None,
    subset: dict[str, PositiveInt | None],
    streaming: bool,
    shuffle_buffer: PositiveInt,
    num_processes: PositiveInt,
) -> LoadedData:
    """The splits of a run.

    `source` is what a reader gave: rows by split. `columns` renames (new name: name in the file). Each
    cleaning step takes and returns all splits. `holdout` makes splits that the source lacks out of train: a
    share of it below 1, or a number of rows. `subset` keeps so many rows of a split, drawn by the seed.
    Cleaning steps share rows among `num_processes`. With `streaming`, train is read as a stream, of which a
    subset is the beginning.
    """
    stream = source.get("train") if streaming else None
    if streaming and not isinstance(stream, RowStream):
        raise ConfigError("dataset.streaming: given true, but train of this source is not read as a stream")
    stream = stream and replace(stream, limit=subset.get("train"))
    # Of a stream the first rows stand for all while columns are renamed and other splits cleaned.
    raw = source if stream is None else {**source, "train": stream.head()}
    splits, notes = renamed(raw, columns), notes_of(source)
    passes.num_processes.set(num_processes)
    for step in cleaning:
        splits = _cleaned(splits, step, notes, is_whole=stream is None)
    if stream is not None:
        stream = replace(stream, columns=columns, cleaning=cleaning)
        del splits["train"]
        subset = {split: size for split, size in subset.items() if split != "train"}
        notes = [note.replace(" rows of train", " first rows of train") for note in notes]
        files = f"{len(stream.files)} files" if len(stream.files) > 1 else stream.files[0]
        notes.append(f"train is a stream of {files}, shuffled within {shuffle_buffer} rows")
    splits = _held_out(splits, holdout, stratify_by, seed, notes)
    splits = {split: contiguous(rows) for split, rows in _subsets(splits, subset, seed).items()}
    fingerprints = {split: content_fingerprint(rows) for split, rows in splits.items()}
    sources = {split: files_of(rows) for split, rows in source.items() if split in splits or not streaming}
    if stream is not None:
        fingerprints["train"], sources["train"] = stream.fingerprint, list(stream.files)
    return LoadedData(
        splits=splits,
        fingerprints=fingerprints,
        notes=notes,
        sources=sources,
        stream=stream,
        shuffle_buffer=shuffle_buffer,
    )


def _cleaned(splits: Splits, step: Callable[[Splits], Splits], notes: list[str], *, is_whole: bool) -> Splits:
    name = type(step).__name__
    column, values = getattr(step, "column", ""), getattr(step, "texts", getattr(step, "values", ()))
    columns = [rows for rows in splits.values() if isinstance(rows.features.get(column), Value | ClassLabel)]
    if columns and values and is_whole:  # values that are in no row may be meant otherwise
        present = {as_text(value) for rows in columns for value in rows.unique(column)}
        if absent := [repr(text) for text in map(as_text, values) if text not in present]:
            there = f"in {column!r}; there are {listed(sorted(present))}"
            notes.append(f"{name}: no row has {listed(absent)} {there}")
    function: Any = getattr(step, "func", step)
    function = function if hasattr(function, "__qualname__") else type(function)
    if not function.__module__.startswith("runwright."):
        code = passes.code_of(function)
        splits = {split: passes.renamed_for(rows, code) for split, rows in splits.items()}
    cleaned = step(splits)
    for split, before in splits.items():
        if (dropped := len(before) - len(cleaned[split])) > 0:
            notes.append(f"{name} dropped {dropped} of {len(before)} rows of {split}")
    return cleaned


def _held_out(
    splits: Splits, holdout: Mapping[str, float], stratify_by: str | None, seed: int, notes: list[str]
) -> Splits:
    wanted = {split: share for split, share in holdout.items() if share and split not in splits}
    if not wanted:
        return splits
    if "train" not in splits:
        none = " ".join(f"dataset.holdout.{split}=0" for split in wanted)
        problem = f"there is no train split to hold out from; splits: {', '.join(splits)}; set {none}"
        raise DataError(problem, split="train")
    rows = splits["train"]
    if stratify_by is not None and stratify_by not in rows.column_names:
        raise missing_column(stratify_by, rows, split="train")
    strata = None if stratify_by is None else strata_of(rows, stratify_by)
    positions = hold_out(row_numbers(rows), wanted, seed=seed, strata=strata)
    sizes = [f"{len(of_split)} for {split}" for split, of_split in positions.items() if split != "train"]
    notes.append(f"held out of {len(rows)} rows of train: {', '.join(sizes)}")
    together = {**splits, **{split: take(rows, of_split) for split, of_split in positions.items()}}
    order = sorted(together, key=lambda split: [not split.startswith(name) for name in USUAL_SPLITS])
    return {split: together[split] for split in order}


def _subsets(splits: Splits, subset: Mapping[str, int | None], seed: int) -> Splits:
    sizes = {split: size for split, size in subset.items() if size is not None}
    # A debug mode limits all usual splits: one that the data lacks is not missed.
    if unknown := [split for split in sizes if split not in (*splits, *USUAL_SPLITS)]:
        raise ConfigError(f"dataset.subset names {unknown[0]!r}; splits: {', '.join(splits)}")
    result = {}
    for split, rows in splits.items():
        if not len(rows):
            raise DataError("the split has no rows left", split=split)
        result[split] = rows
        if sizes.get(split, len(rows)) < len(rows):
            order = random_order(row_numbers(rows), seed=seed, purpose=f"subset of {split}")
            result[split] = take(rows, np.sort(order[: sizes[split]]))
    return result


_MAX_STRATA = 1000


def random_order(row_ids: np.ndarray, *, seed: int, purpose: str) -> np.ndarray:
    """Positions of `row_ids` in random order: each row's rank depends only on the seed, purpose and its id.

    Adding or removing rows leaves the order of the others as it was.
    """
    texts = (f"{seed}:{purpose}:{row_id}".encode() for row_id in row_ids)
    keys = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    name, size = ["order", seed, purpose, store.bytes_digest(row_ids)], len(row_ids)
    # Equal 64-bit keys are ordered by row id, so that the order never depends on the sort.
    return kept_array(name, size, lambda: np.lexsort((row_ids, np.fromiter(keys, "S8").view(">u8"))))


def hold_out(
    row_ids: np.ndarray, shares: Mapping[str, float], *, seed: int, strata: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Positions of the rows of each split named in `shares`, and of the rest as `train`, each ascending.

    A share below 1 is a part of the rows, rounded to the nearest; from 1 on, a number of rows. With
    `strata` [N] int64, each split holds each stratum in proportion, as near as whole rows allow, and every
    stratum keeps a row for training where that is possible.
    """
    counts = {name: int(n) if n >= 1 else round(n * len(row_ids)) for name, n in shares.items()}
    if too_small := [name for name, count in counts.items() if not count]:
        name, hint = too_small[0], "of a JSON object that holds a list of rows, set dataset.source.field=NAME"
        hint = hint if len(row_ids) == 1 else f"dataset.holdout.{name}=1 takes one"
        problem = f"a share of {shares[name]} of {len(row_ids)} rows is less than one row; {hint}"
        raise DataError(problem, split=name)
    if sum(counts.values()) >= len(row_ids):
        taken = " + ".join(f"{count} for {name}" for name, count in counts.items())
        problem = f"{taken} leaves nothing of {len(row_ids)} rows to train on; lower dataset.holdout"
        raise DataError(problem, split="train")
    order = random_order(row_ids, seed=seed, purpose="holdout")
    groups = [order] if strata is None else [order[strata[order] == stratum] for stratum in np.unique(strata)]
    sizes = np.array([len(group) for group in groups])
    taken = np.zeros(len(groups), dtype=np.int64)
    result = {}
    for name, count in counts.items():
        # Every group keeps a row for training where that is possible.
        shares_of_groups = whole_counts(sizes, count, room=np.maximum(sizes - 1, 0) - taken)
        parts = [group[t : t + n] for group, t, n in zip(groups, taken, shares_of_groups, strict=True)]
        result[name] = np.sort(np.concatenate(parts))
        taken += shares_of_groups
    rest = np.sort(np.concatenate([group[start:] for group, start in zip(groups, taken, strict=True)]))
    return {"train": rest, **result}


def whole_counts(shares: np.ndarray, total: int, *, room: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to `total`, each within one of its share of it, [K] int64.

    The largest remainders are rounded up; of equal ones the first. No number exceeds its `room` while others
    have some left; beyond that, all rooms grow one by one.
    """
    ideal = total * shares / shares.sum()
    counts = np.minimum(np.floor(ideal).astype(np.int64), room)
    while (missing := total - int(counts.sum())) > 0:
        below = np.flatnonzero(counts < room)
        if not len(below):
            room = room + 1
            continue
        first = below[np.argsort(counts[below] - ideal[below], kind="stable")]
        counts[first[:missing]] += 1
    return counts


def strata_of(rows: Dataset, column: str) -> np.ndarray:
    """A stratum number for each distinct value; raises DataError where there are too many."""
    codes: dict[str, int] = {}
    values, numbers = distinct_values(rows, column)
    strata = np.array([codes.setdefault(repr(value), len(codes)) for value in values])[numbers]
    if len(codes) > _MAX_STRATA:
        problem = f"{len(codes)} different values are too many to stratify by (at most {_MAX_STRATA})"
        raise DataError(problem, column=column)
    return strata


# --- several data sets as one -----------------------------------------------------------------------------


def concat(*, parts: dict[str, Any]) -> Splits:
    """The rows of all parts, one part after the other, split by split, with the columns that all have."""
    by_split: dict[str, dict[str, Dataset]] = {}
    for name, part in parts.items():
        if not isinstance(part, LoadedData) or part.stream is not None:
            problem = "expected a whole data set, as in +dataset@dataset.source.parts.NAME=csv"
            raise ConfigError(f"dataset.source.parts.{name}: {problem}")
        for split, rows in part.splits.items():
            by_split.setdefault(split, {})[name] = rows
    notes = [f"part {name}: {note}" for name, part in parts.items() for note in part.notes]
    states = {split: [[name, r._fingerprint] for name, r in rows.items()] for split, rows in by_split.items()}
    return kept_rows(
        {"reader": "combination", "notes": notes, "splits": states},
        lambda: {split: _joined(rows, notes, split=split) for split, rows in by_split.items()},
    )


def _joined(rows_of: Mapping[str, Dataset], notes: list[str], *, split: str) -> RawSplit:
    schema, left_out = _common_schema(rows_of, split=split)

    def batches() -> Iterator[pa.RecordBatch]:
        for name, rows in rows_of.items():
            tables: Any = rows.select_columns(schema.names).with_format("arrow").iter(batch_size=BATCH_ROWS)
            for table in tables:
                try:
                    yield from table.cast(schema).combine_chunks().to_batches()
                except pa.ArrowInvalid as error:
                    problem = f"part {name!r} holds what the type of other parts cannot hold ({error}); "
                    raise DataError(f"{problem}CastColumns among its cleaning steps makes it text") from error

    parts = [{"name": name, "num_rows": len(rows), "about": about_of(rows)} for name, rows in rows_of.items()]
    if left_out:
        notes = [*notes, f"columns that not every part has were left out: {left_out}"]
    return RawSplit(
        schema=schema,
        batches=batches(),
        about={"parts": parts, "notes": notes},
        numbers=np.concatenate([row_numbers(rows) for rows in rows_of.values()]),
    )


def _common_schema(rows_of: Mapping[str, Dataset], *, split: str) -> tuple[pa.Schema, str]:
    """The columns that all parts have, and in words which others were left out.

    Whole numbers beside others become decimal ones, short strings long ones; what else differs is an error.
    """
    schemas = {name: rows.features.arrow_schema for name, rows in rows_of.items()}
    names = dict.fromkeys(name for schema in schemas.values() for name in schema.names if name != ROW_ID)
    if not (common := [name for name in names if all(name in schema.names for schema in schemas.values())]):
        shown = "; ".join(f"{name}: {', '.join(schema.names)}" for name, schema in schemas.items())
        problem = f"the parts have no column in common; rename some with columns ({shown})"
        raise DataError(problem, split=split)
    alike = [pa.schema([(name, schema.field(name).type) for name in common]) for schema in schemas.values()]
    try:
        schema = pa.unify_schemas(alike, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        problem = f"parts {', '.join(schemas)} have different types in a column: {error}; make them the same "
        problem += "with CastColumns among the cleaning steps of a part"
        raise DataError(problem, split=split) from error
    lost = {name: [c for c in had.names if c not in (*common, ROW_ID)] for name, had in schemas.items()}
    return schema, "; ".join(f"{', '.join(columns)} of {name}" for name, columns in lost.items() if columns)
