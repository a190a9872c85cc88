"""Rows and records: metrics of classes and groups as rows, records as JSON lines or CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO

from runwright.config.options import with_values
from runwright.errors import DataError
from runwright.store import written_whole

if TYPE_CHECKING:
    import numpy as np

Rows = list[dict[str, Any]]


def class_report(predicted: np.ndarray, expected: np.ndarray, labels: Sequence[str]) -> Rows:
    """Rows of `count_report` for classes [N] int, 0 to C - 1 (others are left out), or sets [N, C] bool."""
    import numpy as np  # deferred: who writes records alone need not have it loaded

    if predicted.ndim == 1:
        is_labelled = (expected >= 0) & (expected < len(labels))
        identity = np.eye(len(labels), dtype=bool)
        predicted, expected = identity[predicted[is_labelled]], identity[expected[is_labelled]]
    counts = (predicted & expected).sum(axis=0), predicted.sum(axis=0), expected.sum(axis=0)
    return count_report(labels, *counts, kind="class")


def count_report(
    labels: Sequence[str], right: np.ndarray, claimed: np.ndarray, support: np.ndarray, *, kind: str
) -> Rows:
    """Precision, recall, F1, and how often each label is expected and predicted, from these counts [C].

    Precision is NaN for a label never predicted, recall for one never expected, F1 only where both are.
    """
    import numpy as np  # deferred: who writes records alone need not have it loaded

    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = right / claimed, right / support, 2 * right / (claimed + support)
    names = (kind, "precision", "recall", "f1", "support", "predicted")
    columns = (column.tolist() for column in (precision, recall, f1, support, claimed))
    return [dict(zip(names, row, strict=True)) for row in zip(labels, *columns, strict=True)]


def group_rows(metrics: Mapping[str, float]) -> Rows:
    """One row for each group, one column for each metric: from keys `metric/group`."""
    rows: dict[str, dict[str, Any]] = {}
    for key, value in metrics.items():
        metric, _, group = key.partition("/")
        if group:
            rows.setdefault(group, {"group": group})[metric] = value
    return list(rows.values())


def csv_columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Columns of a CSV file that holds all these records."""
    return list(dict.fromkeys(name for record in records for name in _flat(record)))


class RecordWriter:
    """Writes result records as they come, as JSON lines or CSV.

    A CSV file has the columns that are given, then those of the first record. `separator` joins labels.
    """

    def __init__(
        self, stream: TextIO, *, format_name: str, columns: Sequence[str] = (), separator: str = ","
    ) -> None:
        self.stream, self.separator = stream, separator
        self.format_name = format_name
        self.columns = columns
        self._csv: csv.DictWriter[str] | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """One record, nested mappings as columns `outer_inner` of CSV; DataError for a new column."""
        if self.format_name == "jsonl":
            self.stream.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
            return
        flat = _flat(record, separator=self.separator)
        if self._csv is None:
            names = list(dict.fromkeys([*self.columns, *flat]))
            # Before Python 3.13 only the characters of the writer's own line ends are quoted.
            lines: Any = SimpleNamespace(write=lambda line: self.stream.write(f"{line[:-2]}\n"))
            self._csv = csv.DictWriter(lines, names, lineterminator="\r\n")
            self._csv.writeheader()
        if new := flat.keys() - self._csv.fieldnames:
            hint = "write JSON lines (--output FILE.jsonl), or give the records as a file (--file)"
            problem = f"the first record has no such column, and CSV needs the same in all: {hint}"
            raise DataError(problem, column=min(new))
        self._csv.writerow(flat)


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write a whole file or none: CSV for spreadsheets, with all columns, or JSON lines, by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_csv := path.suffix == ".csv":
        records = [{guarded(key): guarded(cell) for key, cell in _flat(each).items()} for each in records]
    with written_whole(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        columns = csv_columns(records) if is_csv else ()
        writer = RecordWriter(stream, format_name="csv" if is_csv else "jsonl", columns=columns)
        for record in records:
            writer.write(record)
    return path


def guarded(cell: Any) -> Any:
    """A cell, behind an apostrophe where a spreadsheet would run its text as a formula."""
    if not isinstance(cell, str) or cell[:1] not in {*"=+-@\t\r"} or not cell:
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _flat(record: Mapping[str, Any], prefix: str = "", separator: str = ",") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_", separator)
        else:
            flat[f"{prefix}{name}"] = _cell(value, separator) if isinstance(value, list) else value
    return flat


def _cell(values: list[Any], separator: str) -> str:
    """Labels with the separator between them; as JSON where that is ambiguous, as of spans or of texts."""
    marks = {separator, *'"\n\r[]'}
    if any(isinstance(value, Mapping | list) or any(m in str(value) for m in marks) for value in values):
        return json.dumps(values, ensure_ascii=False, default=str)
    return separator.join(map(str, values))


def strict(value: Any) -> Any:
    """Convert to strict JSON: NaN and inf become strings, other types their text."""

    def as_json(_: str, leaf: Any) -> Any:
        is_json = leaf is None or isinstance(leaf, bool | int | str)
        return leaf if is_json or (isinstance(leaf, float) and math.isfinite(leaf)) else str(leaf)

    return with_values(value, as_json)
