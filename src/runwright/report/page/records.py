"""Files of a run's folder, read as data: what is missing or broken is left out."""

import contextlib
import csv
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from runwright.report.page.charts import Curve
from runwright.store import read_json

_GUARD = re.compile(r"^'(?=[=+\-@\t\r])")  # of `report.tables.guarded`
MAX_PREDICTIONS = 200_000  # of a split; more are not needed for any picture


class RunRecord:
    """The files of a run, as plain containers."""

    def __init__(self, folder: Path, *, config: dict[str, Any], curves: Mapping[str, Curve]) -> None:
        self.folder, self.config, self.curves = folder, config, curves
        names = ("run", "summary", "provenance", "data", "task")
        read = (read_json(folder / f"{name}.json") for name in names)
        self.run, self.summary, self.provenance, self.data, self.task = read
        files = (folder / "predictions").glob("*.jsonl")
        files = sorted(files, key=lambda file: (file.stem != "validation", file.stem))
        self.predictions = {file.stem: list(islice(_records(file), MAX_PREDICTIONS)) for file in files}
        self.tables = read_tables(folder / "tables")  # by the stem of the file
        self.metrics = numbers_of(self.summary.get("metrics"))
        self.name = f"{self.run.get('name', folder.parent.name)}/{folder.name}"  # experiment and folder
        # What metrics are grouped by, and the metric that chose the best model.
        self.group_column = str(config.get("task", {}).get("group_column") or "")
        self.best_metric = str(config.get("trainer", {}).get("best_metric", "loss"))


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            with contextlib.suppress(ValueError):
                if isinstance(record := json.loads(line), dict):
                    yield record


def read_tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of tables/<name>.csv by name."""
    tables = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            tables[file.stem] = [
                {name: _GUARD.sub("", cell) for name, cell in row.items()} for row in csv.DictReader(stream)
            ]
    return tables


def as_number(value: Any) -> float | None:
    """A number of a summary or a table, where NaN and inf are texts; None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def numbers_of(values: Any) -> dict[str, float]:
    """Members of a mapping that are numbers; empty for anything else."""
    pairs = values.items() if isinstance(values, dict) else ()
    return {str(name): number for name, value in pairs if (number := as_number(value)) is not None}
