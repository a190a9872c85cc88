"""Where a row came from: the file, the row and the line there that a user can open.

Every row keeps its `row_id` through all steps of a data set, and every split what it was read from, in the
description of its `info`; so the place is worked out when there is something to complain about.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from runwright.dataset.readers.conll_rows import ConllReader
from runwright.dataset.readers.csv_rows import CsvReader
from runwright.dataset.readers.delimited import Dialect
from runwright.dataset.readers.json_rows import JsonReader
from runwright.dataset.readers.reading import Position
from runwright.errors import DataError

About = Mapping[str, Any]
"""Of files `files`, (name, number of rows) in their order, and `how` they were read; of a combination
`parts`: name, number of rows, what the part is about, and a file with the ids that its rows had there."""


class Where(NamedTuple):
    """The place of one row."""

    file: str | None  # a hub's NAME@COMMIT with its split; None: unknown
    row: int  # from 0, in the file or the split
    line: int | None = None  # from 1, where the row begins; None: the file has no lines


def about_of(rows: Dataset) -> About:
    """What a split was read from; empty where unknown."""
    try:
        found = json.loads(rows.info.description)
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def files_of(rows: Dataset) -> list[str]:
    """The files that the rows of a raw split came from."""
    return _files(about_of(rows))


def locate(rows: Dataset, row_id: int) -> Where:
    """Where a row came from."""
    about, names, row = about_of(rows), [], row_id
    while "parts" in about:
        sizes = [(number, part["num_rows"]) for number, part in enumerate(about["parts"])]
        number, place = place_in(sizes, row)
        if number is None:
            return Where(None, row_id)
        part = about["parts"][number]
        about, names = part["about"], [*names, part["name"]]
        own = _own_row_id(part["row_ids"], place)
        if own is None:
            return Where(f"{': '.join(names)}, after its own steps", place)
        row = own
    file, row = place_in(about.get("files", ()), row)
    how = about.get("how", {})
    line = None if file is None else line_of(file, row, how)
    if file is not None and "split" in how:
        file = f"{file} ({how['split']})"
    return Where(": ".join([*names, *([] if file is None else [file])]) or None, row, line)


def place_in(origins: Iterable[tuple[Any, int]], row_id: int) -> tuple[Any, int]:
    """Of (file, number of rows), the file that holds a row, None beyond all of them, and its place there."""
    position = row_id
    for file, num_rows in origins:
        if position < num_rows:
            return file, position
        position -= num_rows
    return None, row_id


def line_of(file: str, row: int, how: Mapping[str, Any]) -> int | None:
    """The line on which a row of a file begins; None where it has none, or the file is another by now."""
    if how.get("reader") == "lines":
        return row + 1
    if how.get("reader") not in _READERS:
        return None
    at = Position(address=file)
    rows = _READERS[how["reader"]](how).rows(at, range(how.get("num_columns", 0)))
    try:
        for number, _ in enumerate(rows):
            if number == row:
                return at.line
    except (DataError, OSError):
        pass
    return None


def _files(about: About) -> list[str]:
    if "parts" in about:
        return [f"{part['name']}: {file}" for part in about["parts"] for file in _files(part["about"])]
    return [file for file, _ in about.get("files", ())]


def _own_row_id(kept: str | None, place: int) -> int | None:
    """The id that a row had in its part; None where that was removed from the cache meanwhile."""
    if kept is None:
        return place
    try:
        return int(np.load(kept, mmap_mode="r", allow_pickle=False)[place])
    except (OSError, ValueError):
        return None


_READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "csv": lambda how: CsvReader(dialect=Dialect(**how["dialect"])),
    "json": lambda how: JsonReader(encoding=how["encoding"], field=None),
    "sentences": lambda how: ConllReader(
        columns_on_line={"words": 0}, separator="\t", encoding=how["encoding"]
    ),
}
