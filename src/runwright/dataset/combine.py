"""Several data sets as one: after one another, or mixed in given proportions.

A part is a whole data set with its own columns, cleaning and held-out splits, or the rows of a reader.
The combination is stored as rows of its own, with new row ids, for each state of its parts.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright import store
from runwright.dataset.checks import missing_column
from runwright.dataset.fingerprint import content_fingerprint, row_numbers
from runwright.dataset.load import LoadedData, random_order, whole_counts
from runwright.dataset.readers.raw import ROW_ID, RawSplit, about_of, files_of, kept_rows, notes_of
from runwright.dataset.readers.reading import BATCH_ROWS
from runwright.errors import ConfigError, DataError
from runwright.types import PositiveFloat, PositiveInt, Splits

_log = logging.getLogger(__name__)
Selected = dict[str, tuple[Dataset, "np.ndarray | None"]]
"""By name of the part: its rows of one split, and the positions taken of them, [N] int64; None: all."""


class Combined(dict[str, Dataset]):
    """Splits made of parts; `notes` tells how, `parts` holds a description of each."""

    def __init__(self, splits: Splits, *, notes: list[str], parts: dict[str, Any]) -> None:
        super().__init__(splits)
        self.notes = notes
        self.parts = parts


def concat(*, parts: dict[str, Any], columns: list[str] | None, source_column: str | None) -> Combined:
    """The rows of all parts, one part after the other, split by split.

    `columns` are kept, null: those that every part has. `source_column` names a new column with the name of
    the part that a row came from.
    """
    return _combined(*_opened(parts), columns, source_column, notes=[])


def mix(
    seed: int,
    *,
    parts: dict[str, Any],
    weights: dict[str, PositiveFloat] | None,
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
    loaded, selected = _opened(parts)
    if unknown := [split for split in splits if split not in selected]:
        raise ConfigError(f"dataset.source.splits names {unknown[0]!r}; splits: {', '.join(selected)}")
    notes: list[str] = []
    for split in splits:
        if missing := [name for name in loaded if name not in selected[split]]:
            raise DataError(f"the part {missing[0]!r} has no such split to mix", split=split)
        sizes = np.array([len(rows) for rows, _ in selected[split].values()])
        shares = np.array([(weights or {}).get(name, 0) for name in selected[split]], dtype=np.float64)
        shares = shares_by_temperature(sizes, temperature) if temperature else shares / shares.sum()
        total = num_rows or largest_without_repeats(shares, sizes)
        counts, texts = whole_counts(shares, total).tolist(), []
        for (name, (rows, _)), count, share in zip(selected[split].items(), counts, shares, strict=True):
            if not count:
                problem = f"no row of part {name!r} in a mixture of {total} rows"
                raise DataError(f"{problem}; raise dataset.source.num_rows", split=split)
            # each row as often as any other, to within one
            rounds, rest = divmod(count, len(rows))
            order = random_order(row_numbers(rows), seed=seed, purpose=f"mixture of {split}: {name}")
            positions = np.sort(np.concatenate([np.tile(np.arange(len(rows)), rounds), order[:rest]]))
            selected[split][name] = rows, positions.astype(np.int64)
            repeats = f", each {count / len(rows):.3g} times" if count > len(rows) else ""
            proportion = f"({count / total:.4%}, asked for {share:.4%})"
            texts.append(f"{name} {count} of {len(rows)} rows {proportion}{repeats}")
        notes.append(f"mixture of {split}, {total} rows: {'; '.join(texts)}")
    return _combined(loaded, selected, columns, source_column, notes=notes)


def shares_by_temperature(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """Shares in proportion to sizes ** (1 / temperature), [K] float64."""
    # From logarithms, so that a low temperature of large sets does not overflow.
    logs = np.log(np.maximum(sizes, 1).astype(np.float64)) / temperature
    powers = np.exp(logs - logs.max())
    return powers / powers.sum()


def largest_without_repeats(shares: np.ndarray, sizes: np.ndarray) -> int:
    """A total whose whole counts are within the sizes: one row more would ask too much of some part."""
    total = math.floor(float((sizes / shares).min())) + len(sizes)
    while total > 1 and (whole_counts(shares, total) > sizes).any():
        total -= 1
    return total


def _opened(parts: Mapping[str, Any]) -> tuple[dict[str, LoadedData], dict[str, Selected]]:
    """The parts as data sets, and all their rows by split; raises ConfigError for what is no data set."""
    loaded: dict[str, LoadedData] = {}
    selected: dict[str, Selected] = {}
    for name, part in parts.items():
        key = f"dataset.source.parts.{name}"
        if isinstance(part, Mapping):
            part = LoadedData(
                splits=dict(part),
                fingerprints={split: content_fingerprint(rows) for split, rows in part.items()},
                notes=notes_of(part),
                sources={split: files_of(rows) for split, rows in part.items()},
            )
        if not isinstance(part, LoadedData):
            raise ConfigError(f"{key}: expected a data set or a reader, given {type(part).__name__}")
        if part.stream is not None:
            raise ConfigError(f"{key}: a combination cannot hold a stream; set its streaming to false")
        loaded[name] = part
        for split, rows in part.splits.items():
            selected.setdefault(split, {})[name] = rows, None
    return loaded, selected


def _combined(
    loaded: Mapping[str, LoadedData],
    selected: Mapping[str, Selected],
    columns: list[str] | None,
    source_column: str | None,
    *,
    notes: list[str],
) -> Combined:
    notes = [f"part {name}: {note}" for name, part in loaded.items() for note in part.notes] + notes
    schemas, key = {}, {}
    for split, by_part in selected.items():
        schemas[split], left_out = _common_schema(by_part, columns, source_column, split=split)
        if left_out:
            notes.append(f"columns of {split} that not every part has were left out: {left_out}")
            _log.info("%s", notes[-1])
        key[split] = {
            "schema": [[field.name, str(field.type)] for field in schemas[split]],
            "parts": [
                [name, rows._fingerprint, None if positions is None else store.bytes_digest(positions)]
                for name, (rows, positions) in by_part.items()
            ],
        }
    rows = kept_rows(
        {"reader": "combination", "source_column": source_column, "splits": key},
        lambda: {split: _raw(selected[split], schemas[split], source_column) for split in selected},
    )
    described = {
        name: {
            "rows": {split: len(rows) for split, rows in part.splits.items()},
            **{key: getattr(part, key) for key in ("fingerprints", "sources", "notes")},
            **({"parts": part.parts} if part.parts else {}),
        }
        for name, part in loaded.items()
    }
    return Combined(rows, notes=notes, parts=described)


def _raw(selected: Selected, schema: pa.Schema, source_column: str | None) -> RawSplit:
    parts, ids = [], []
    for name, (rows, positions) in selected.items():
        ids.append(row_numbers(rows) if positions is None else row_numbers(rows)[positions])
        parts.append({"name": name, "num_rows": len(ids[-1]), "about": about_of(rows)})

    def batches() -> Iterator[pa.RecordBatch]:
        for name, (rows, positions) in selected.items():
            taken = rows if positions is None else rows.select(positions, keep_in_memory=True)
            tables: Any = taken.with_format("arrow").iter(batch_size=BATCH_ROWS)
            for table in tables:
                yield from _in_schema(table, schema, source_column, name).combine_chunks().to_batches()

    return RawSplit(schema=schema, batches=batches(), about={"parts": parts}, numbers=np.concatenate(ids))


# --- columns and types ------------------------------------------------------------------------------------


def _common_schema(
    selected: Selected, columns: Sequence[str] | None, source_column: str | None, *, split: str
) -> tuple[pa.Schema, str]:
    """The schema of the combined rows, and in words which columns were left out.

    Whole numbers beside others become decimal ones, short strings long ones; what else differs is an error.
    """
    schemas = {name: rows.features.arrow_schema for name, (rows, _) in selected.items()}
    names = dict.fromkeys(name for schema in schemas.values() for name in schema.names if name != ROW_ID)
    wanted = [name for name in names if all(name in schema.names for schema in schemas.values())]
    if columns is not None:
        for name, (rows, _) in selected.items() if split == "train" else ():
            for column in columns:
                if column not in rows.column_names:
                    error = missing_column(column, rows, split=split)
                    raise DataError(f"part {name!r}: {error}") from error
        wanted = [name for name in columns if name in wanted]
    if not wanted:
        shown = "; ".join(f"{name}: {', '.join(schema.names)}" for name, schema in schemas.items())
        problem = f"the parts have no column in common; rename some with columns ({shown})"
        raise DataError(problem, split=split)
    if source_column in wanted:
        problem = f"the parts have a column {source_column!r}; choose another name"
        raise ConfigError(f"dataset.source.source_column: {problem}")
    alike = [pa.schema([(name, schema.field(name).type) for name in wanted]) for schema in schemas.values()]
    try:
        common = pa.unify_schemas(alike, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        problem = f"parts {', '.join(schemas)} have different types in a column: {error}; make them the same "
        problem += "with CastColumns among the cleaning steps of a part"
        raise DataError(problem, split=split) from error
    if source_column is not None:
        common = common.append(pa.field(source_column, pa.string()))
    lost = {name: [c for c in schema.names if c not in (*wanted, ROW_ID)] for name, schema in schemas.items()}
    left_out = "; ".join(f"{', '.join(c)} of {name}" for name, c in lost.items() if c)
    return common, left_out if columns is None else ""


def _in_schema(table: pa.Table, schema: pa.Schema, source_column: str | None, name: str) -> pa.Table:
    columns: list[Any] = []
    for field in schema:
        if field.name == source_column:
            columns.append(pa.array([name] * table.num_rows, pa.string()))
            continue
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowInvalid as error:
            problem = f"part {name!r} holds {column.type} that {field.type}, which other parts have, cannot "
            problem += f"hold ({error}); CastColumns among its cleaning steps makes them text"
            raise DataError(problem, column=field.name) from error
    return pa.Table.from_arrays(columns, schema=schema)
