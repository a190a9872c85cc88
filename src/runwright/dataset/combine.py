"""Several data sets as one: after one another, or mixed in given proportions.

A part is whatever a reader gives, or a whole data set with its own columns, cleaning and held-out splits.
The combination is stored as rows of its own, with new row ids, for each state of its parts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright import store
from runwright.dataset.alignment import common_schema, in_schema
from runwright.dataset.cleaning.passes import column_numbers
from runwright.dataset.fingerprint import content_fingerprint
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.places import about_of, files_of
from runwright.dataset.readers.raw import BATCH_ROWS, ROW_ID, Part, RawSplit, kept_rows
from runwright.dataset.splits import random_order
from runwright.errors import ConfigError, DataError
from runwright.types import PositiveFloat, PositiveInt, Splits


def shares_by_temperature(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """Shares in proportion to sizes ** (1 / temperature), [K] float64."""
    # From logarithms, so that a low temperature of large sets does not overflow.
    logs = np.log(np.maximum(sizes, 1).astype(np.float64)) / temperature
    powers = np.exp(logs - logs.max())
    return powers / powers.sum()


def whole_counts(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, each within one of its share of it, [K] int64.

    The largest remainders are rounded up; of equal ones the first.
    """
    ideal = shares / shares.sum() * total
    counts = np.floor(ideal).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - ideal, kind="stable")[:missing]] += 1
    return counts


def largest_without_repeats(shares: np.ndarray, sizes: np.ndarray) -> int:
    """A total whose whole counts are within the sizes: one row more would ask too much of some part."""
    total = math.floor(float((sizes / shares).min())) + len(sizes)
    while total > 1 and (whole_counts(shares, total) > sizes).any():
        total -= 1
    return total


_log = logging.getLogger(__name__)
Positions = dict[str, dict[str, np.ndarray | None]]
"""By split and part: the rows that are taken, [N] int64; None: all of them."""


class Combined(dict[str, Dataset]):
    """Splits made of parts; `notes` tells how, `parts` what each of them holds."""

    def __init__(self, splits: Splits, *, notes: list[str], parts: dict[str, Any]) -> None:
        super().__init__(splits)
        self.notes = notes
        self.parts = parts


def concat(
    *, parts: dict[str, Any] | list[Any], columns: list[str] | None, source_column: str | None
) -> Combined:
    """The rows of all parts, one part after the other, split by split.

    `columns` are kept, null: those that every part has. `source_column` names a new column with the name of
    the part that a row came from.
    """
    named = _named(parts)
    splits = dict.fromkeys(split for part in named.values() for split in _splits(part))
    taken: Positions = {
        split: {name: None for name, part in named.items() if split in _splits(part)} for split in splits
    }
    return _combined(named, taken, columns, source_column, notes=[])


def mix(
    seed: int,
    *,
    parts: dict[str, Any] | list[Any],
    weights: dict[str, PositiveFloat] | list[PositiveFloat] | None,
    temperature: PositiveFloat | None,
    num_rows: PositiveInt | None,
    splits: list[str],
    columns: list[str] | None,
    source_column: str | None,
) -> Combined:
    """Rows of all parts in the proportion of their weights, drawn by the seed; else as `concat`.

    With a temperature T the weights are the sizes to the power of 1/T: 1 keeps the proportions of the sizes,
    a large one makes the parts equal. `num_rows` is the size of the mixture; null: as many as there can be
    with no row twice. A part that has to give more rows than it has repeats them all equally often, to within
    one. Splits that are not named in `splits` are not mixed: each of their rows comes once.
    """
    named = _named(parts)
    taken: Positions = {}
    notes: list[str] = []
    for split in dict.fromkeys(split for part in named.values() for split in _splits(part)):
        present = {name: _splits(part)[split] for name, part in named.items() if split in _splits(part)}
        taken[split] = dict.fromkeys(present)
        if split not in splits:
            continue
        if missing := [name for name in named if name not in present]:
            raise DataError(f"the part {missing[0]!r} has no such split to mix", split=split)
        sizes = np.array([len(rows) for rows in present.values()])
        shares = _shares(weights, temperature, list(present), sizes)
        total = num_rows or largest_without_repeats(shares, sizes)
        counts = whole_counts(shares, total)
        for name, count in zip(present, counts.tolist(), strict=True):
            if not count:
                raise DataError(
                    f"no row of part {name!r} in a mixture of {total} rows; raise dataset.source.num_rows",
                    split=split,
                )
            taken[split][name] = _draw(present[name], count, seed=seed, purpose=f"mixture of {split}: {name}")
        notes.append(_proportions(split, list(present), sizes, shares, counts))
    if unknown := [split for split in splits if split not in taken]:
        raise ConfigError(f"dataset.source.splits names {unknown[0]!r}; splits: {', '.join(taken)}")
    return _combined(named, taken, columns, source_column, notes=notes)


def _shares(weights: Any, temperature: float | None, names: Sequence[str], sizes: np.ndarray) -> np.ndarray:
    """The share of each part, [K] float64, adding up to 1."""
    if temperature is not None:
        return shares_by_temperature(sizes, temperature)
    by_name = weights if isinstance(weights, Mapping) else dict(zip(names, weights, strict=False))
    if set(by_name) != set(names) or len(weights) != len(names):
        raise ConfigError(f"dataset.source.weights: expected a weight for each of {', '.join(names)}")
    given = np.array([float(by_name[name]) for name in names])
    return given / given.sum()


def _draw(rows: Dataset, count: int, *, seed: int, purpose: str) -> np.ndarray:
    """Ascending positions of `count` rows, each as often as any other, to within one."""
    rounds, rest = divmod(count, len(rows))
    order = random_order(_row_ids(rows), seed=seed, purpose=purpose)
    return np.sort(np.concatenate([np.tile(np.arange(len(rows)), rounds), order[:rest]])).astype(np.int64)


def _proportions(
    split: str, names: Sequence[str], sizes: np.ndarray, shares: np.ndarray, counts: np.ndarray
) -> str:
    total = int(counts.sum())
    parts = []
    for name, size, share, count in zip(names, sizes, shares, counts, strict=True):
        text = f"{name} {count} of {size} rows ({count / total:.4%}, asked for {share:.4%})"
        parts.append(text + (f", each {count / size:.3g} times" if count > size else ""))
    return f"mixture of {split}, {total} rows: {'; '.join(parts)}"


def _named(parts: Any) -> dict[str, Any]:
    if not parts:
        raise ConfigError("dataset.source.parts: no parts; expected at least one data set")
    named = parts if isinstance(parts, Mapping) else {f"part_{n}": part for n, part in enumerate(parts, 1)}
    for name, part in named.items():
        if not isinstance(part, Mapping | LoadedData):
            raise ConfigError(
                f"dataset.source.parts.{name}: expected a data set or a reader, got {type(part).__name__}"
            )
    return dict(named)


def _splits(part: Any) -> Splits:
    if getattr(part, "stream", None) is not None:
        raise ConfigError(
            "dataset.source.parts: a combination cannot hold a stream; set its streaming to false"
        )
    return part.splits if isinstance(part, LoadedData) else dict(part)


def _combined(
    named: Mapping[str, Any],
    taken: Positions,
    columns: list[str] | None,
    source_column: str | None,
    *,
    notes: list[str],
) -> Combined:
    own: list[str] = []
    described: dict[str, Any] = {}
    for name, part in named.items():
        described[name] = _describe(part)
        own += [f"part {name}: {note}" for note in described[name]["notes"]]
    schemas = {}
    for split, chosen in taken.items():
        present = {name: _splits(named[name])[split] for name in chosen}
        schemas[split], left_out = common_schema(present, columns, source_column, split=split)
        if left_out:
            notes.append(f"columns of {split} that not every part has were left out: {left_out}")
            _log.info("%s", notes[-1])
    key = {
        "reader": "combination",
        "source_column": source_column,
        "splits": {
            split: {
                "schema": [[field.name, str(field.type)] for field in schemas[split]],
                "parts": [
                    [name, _splits(named[name])[split]._fingerprint, _digest(positions)]
                    for name, positions in chosen.items()
                ],
            }
            for split, chosen in taken.items()
        },
    }
    rows = kept_rows(
        key,
        lambda: {split: _raw(named, split, taken[split], schemas[split], source_column) for split in taken},
    )
    return Combined(rows, notes=own + notes, parts=described)


def _raw(
    named: Mapping[str, Any],
    split: str,
    chosen: Mapping[str, np.ndarray | None],
    schema: pa.Schema,
    source_column: str | None,
) -> RawSplit:
    def batches() -> Iterator[pa.RecordBatch]:
        for name, positions in chosen.items():
            rows = _splits(named[name])[split]
            taken = rows if positions is None else rows.select(positions, keep_in_memory=True)
            tables: Any = taken.with_format("arrow").iter(batch_size=BATCH_ROWS)
            for table in tables:
                yield in_schema(table, schema, source_column, name)

    parts = [_part(name, _splits(named[name])[split], positions) for name, positions in chosen.items()]
    return RawSplit(schema=schema, batches=batches(), parts=parts)


def _part(name: str, rows: Dataset, positions: np.ndarray | None) -> Part:
    row_ids = _row_ids(rows) if positions is None else _row_ids(rows)[positions]
    in_place = bool((row_ids == np.arange(len(row_ids))).all())
    about = about_of(rows)
    return Part(name=name, num_rows=len(row_ids), about=about, row_ids=None if in_place else row_ids)


def _describe(part: Any) -> dict[str, Any]:
    """What a part holds, for JSON."""
    if isinstance(part, LoadedData):
        inner = {"parts": part.parts} if part.parts else {}
        facts = {"fingerprints": part.fingerprints, "sources": part.sources, "notes": part.notes}
        return {"rows": {split: len(rows) for split, rows in part.splits.items()}, **facts, **inner}
    return {
        "rows": {split: len(rows) for split, rows in part.items()},
        "fingerprints": {split: content_fingerprint(rows) for split, rows in part.items()},
        "sources": {split: files_of(rows) for split, rows in part.items()},
        "notes": list(getattr(part, "notes", [])),
    }


def _row_ids(rows: Dataset) -> np.ndarray:
    return column_numbers(rows, ROW_ID) if ROW_ID in rows.column_names else np.arange(len(rows))


def _digest(positions: np.ndarray | None) -> str | None:
    return None if positions is None else store.digest(store.bytes_digest(positions))
