"""Result records as JSON lines or CSV, written as they come."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from runwright.errors import DataError


def csv_columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns that the records need in CSV together."""
    return list(dict.fromkeys(name for record in records for name in _flat(record)))


class RecordWriter:
    """Writes result records as they come, as JSON lines or CSV.

    The first record sets the columns of CSV, after those that are said to come in some record.
    """

    def __init__(self, stream: TextIO, *, format_name: str, columns: Sequence[str] = ()) -> None:
        self.stream = stream
        self.format_name = format_name
        self.columns = columns
        self._num_rows = 0
        self._csv: csv.DictWriter[str] | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """One record; nested mappings become columns `outer_inner` in CSV.

        Raises DataError for one with a column that CSV has not.
        """
        if self.format_name == "jsonl":
            self.stream.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
            return
        flat = _flat(record)
        if self._csv is None:
            names = list(dict.fromkeys([*self.columns, *flat]))
            self._csv = csv.DictWriter(self.stream, names, lineterminator="\n")
            self._csv.writeheader()
        for name in flat:
            if name not in self._csv.fieldnames:
                raise DataError(
                    "the first record has no such column, and CSV needs the same in all: write JSON lines "
                    "(--output-format jsonl), or give the records as a file (--file)",
                    row=self._num_rows,
                    column=name,
                )
        self._csv.writerow(flat)
        self._num_rows += 1


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[f"{prefix}{name}"] = _cell(value) if isinstance(value, list) else value
    return flat


def _cell(values: list[Any]) -> str:
    """Labels with commas between them; what has parts of its own, as spans have, as JSON."""
    if any(isinstance(value, Mapping | list) for value in values):
        return json.dumps(values, ensure_ascii=False, default=str)
    return ",".join(map(str, values))


def strict(value: Any) -> Any:
    """The same value in what JSON knows."""
    if isinstance(value, Mapping):
        return {str(name): strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
