"""Raw rows as memory-mapped Arrow files, written once for each state of their source files, and their origin.

Every row keeps its `row_id` through all steps of a data set, and every split a description of its sources in
`info`: `files`, (name, number of rows) in row order, or of a combination `parts`: name, number of rows and
description of each; and `numbers`, a .npy file with the line of each row, or of a combination its row_id in
its part. So an error about a row can name its file and line. `notes` are those of the reader, `left_out` has
the columns whose values do not fit each other, with the first that does not.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetInfo
from datasets.table import MemoryMappedTable

from runwright import store
from runwright.errors import DataError
from runwright.types import Splits

ROW_ID = "row_id"
MAX_CACHE_BYTES = 20 * 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """The rows of one split from a reader, which may extend `about` and `numbers` while batches are read."""

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    about: dict[str, Any]  # a description of the sources, as above, without numbers
    numbers: Sequence[int] | np.ndarray = ()  # [N], -1: the row has no line; empty: no row has one


class Where(NamedTuple):
    """File, row and line that a row came from."""

    file: str | None  # a hub's NAME@COMMIT with its split; None: unknown
    row: int  # from 0, in the file or the split
    line: int | None = None  # from 1, where the row begins; None: the file has no lines


_on_rows: ContextVar[Callable[[int], object]] = ContextVar("_on_rows", default=lambda _: None)
_num_rows: ContextVar[int] = ContextVar("_num_rows", default=0)


@contextmanager
def reporting_rows(on_rows: Callable[[int], object]) -> Iterator[None]:
    """Call the function with the number of rows that were read or encoded since the start of the block."""
    _num_rows.set(0)
    token = _on_rows.set(on_rows)
    try:
        yield
    finally:
        _on_rows.reset(token)


def report_rows(num_rows: int) -> None:
    """Count rows that were read, or encoded, for whoever asked for it."""
    _num_rows.set(_num_rows.get() + num_rows)
    _on_rows.get()(_num_rows.get())


def kept_rows(key: Mapping[str, Any], read: Callable[[], Mapping[str, RawSplit]]) -> Splits:
    """The splits that `read` gives, from the cache where the same key was read before."""
    name = store.digest({"code": readers_code(), **key})
    entry = store.cache_root() / "rows" / name

    def write(folder: Path) -> dict[str, Any]:
        return {"key": key, "splits": _write(folder, read(), key)}

    with store.cached(entry, write, max_bytes=MAX_CACHE_BYTES) as (manifest, _):
        splits = {}
        left_out = {}  # by one split: from all, or the others would look as if they had no labels
        for split in manifest["splits"]:
            left_out |= split["about"].get("left_out", {})
        for number, split in enumerate(manifest["splits"]):
            numbers = split["about"]["numbers"] and str(entry / split["about"]["numbers"])
            about = {**split["about"], "numbers": numbers, "left_out": left_out}
            info = DatasetInfo(description=json.dumps(about))
            table = MemoryMappedTable.from_file(str(entry / f"{number}.arrow"))
            if dropped := [column for column in left_out if column in table.column_names]:
                table = table.drop(dropped)
            splits[split["name"]] = Dataset(table, info=info, fingerprint=f"{name}-{number}")
    return splits


def with_row_id(schema: pa.Schema, *, split: str, file: str | None) -> pa.Schema:
    """The columns with that of the row's number; raises DataError where there is one of its name."""
    if ROW_ID in schema.names:
        problem = "this name is taken: rows are numbered in such a column; rename yours in the file (csv: "
        raise DataError(f"{problem}dataset.source.column_names)", file=file, split=split, column=ROW_ID)
    return schema.append(pa.field(ROW_ID, pa.int64()))


def _write(folder: Path, splits: Mapping[str, RawSplit], key: Mapping[str, Any]) -> list[dict[str, Any]]:
    written = []
    files = key.get("files", {})  # of each split the states of its files
    _num_rows.set(0)  # the same rows may have been read once already, for the types of columns
    # Numbered files: a split's name may hold characters that a file name may not.
    for number, (name, split) in enumerate(splits.items()):
        schema = with_row_id(split.schema, split=name, file=files.get(name, [[None]])[0][0])
        position = 0
        arrow = folder / f"{number}.arrow"
        with pa.OSFile(str(arrow), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in split.batches:
                ids = pa.array(range(position, position + batch.num_rows), pa.int64())
                columns = [batch.column(field.name) for field in split.schema]
                writer.write_batch(pa.RecordBatch.from_arrays([*columns, ids], schema=schema))
                position += batch.num_rows
                report_rows(batch.num_rows)
        numbers = f"{number}.npy" if len(split.numbers) else None
        if numbers is not None:
            np.save(folder / numbers, np.asarray(split.numbers, dtype=np.int64), allow_pickle=False)
        written.append({"name": name, "about": {**split.about, "numbers": numbers}})
    return written


@cache
def readers_code() -> str:
    """A hash of the code that makes rows, the whole room, as it was when this process first asked."""
    return store.sources_digest(Path(__file__).parents[1])


# --- the origin of a row ----------------------------------------------------------------------------------


def about_of(rows: Dataset) -> dict[str, Any]:
    """The description of a split's sources; empty where unknown."""
    return json.loads(rows.info.description or "{}")


def notes_of(source: Any) -> list[str]:
    """Notes of a reader on how it read its splits, each once."""
    notes: dict[str, list[str]] = {}
    for split, rows in source.items():
        about = about_of(rows) if isinstance(rows, Dataset) else getattr(rows, "about", {})
        for note in about.get("notes", ()):
            notes.setdefault(note, []).append(split)
    return [f"{', '.join(splits)}: {note}" for note, splits in notes.items()]


def left_out_of(rows: Dataset) -> dict[str, DataError]:
    """The columns that the reader left out, and why."""
    return {name: DataError(**why) for name, why in about_of(rows).get("left_out", {}).items()}


def files_of(rows: Dataset) -> list[str]:
    """The files that the rows of a raw split came from."""

    def files(about: Mapping[str, Any]) -> list[str]:
        if "parts" in about:
            return [f"{part['name']}: {file}" for part in about["parts"] for file in files(part["about"])]
        return [file for file, _ in about.get("files", ())]

    return files(about_of(rows))


def locate(rows: Dataset, row_id: int) -> Where:
    """File, row and line that a row of a raw split came from."""
    about, names, row = about_of(rows), [], row_id
    while "parts" in about:
        sizes = [(number, part["num_rows"]) for number, part in enumerate(about["parts"])]
        number, position = position_in(sizes, row)
        if number is None:
            return Where(None, row_id)
        id_in_part = _number(about, row)
        about, names = about["parts"][number]["about"], [*names, about["parts"][number]["name"]]
        if id_in_part is None:
            return Where(f"{': '.join(names)}, after its own steps", position)
        row = id_in_part
    file, position = position_in(about.get("files", ()), row)
    line = None if file is None else _number(about, row)
    if file is not None and "split" in about:
        file = f"{file} ({about['split']})"
    return Where(": ".join([*names, *([] if file is None else [file])]) or None, position, line)


def position_in(origins: Iterable[tuple[Any, int]], row_id: int) -> tuple[Any, int]:
    """Of (file, number of rows), the file that holds a row and the row's position there; None beyond all."""
    position = row_id
    for file, num_rows in origins:
        if position < num_rows:
            return file, position
        position -= num_rows
    return None, row_id


def _number(about: Mapping[str, Any], row_id: int) -> int | None:
    """The line of a row, or its row_id in its part; None where that was removed from the cache meanwhile."""
    numbers = about.get("numbers")
    try:
        if isinstance(numbers, str):
            number = int(np.load(numbers, mmap_mode="r", allow_pickle=False)[row_id])
        else:
            number = numbers[row_id - about["first_id"]] if numbers else -1
    except (OSError, ValueError, IndexError):
        return None
    return None if number < 0 else number
