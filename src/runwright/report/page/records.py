"""What a run's folder says, read as data: a file that is missing or broken leaves its part out."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

MAX_PREDICTIONS = 200_000  # of a split; more are not needed for any picture


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The files of a run, as plain containers."""

    folder: Path
    run: dict[str, Any]
    config: dict[str, Any]
    config_text: str
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    summary: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)  # behind the plots of the data
    predictions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    class_tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # by split
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.run.get('name', self.folder.parent.name)}/{self.folder.name}"

    @property
    def group_column(self) -> str:
        """The column that metrics are grouped by; empty without one."""
        return str(self.config.get("task", {}).get("group_column") or "")

    @property
    def best_metric(self) -> str:
        """The metric that chose the best model."""
        return str(self.config.get("trainer", {}).get("best_metric", "loss"))


def read_json(file: Path) -> dict[str, Any]:
    """A mapping from a file; empty where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if file.exists():
            logger.warning("%s cannot be read and is left out: %s", file, error)
        return {}
    return value if isinstance(value, dict) else {}


def read_predictions(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of predictions/<split>.jsonl by split, validation first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.jsonl"), key=lambda file: (file.stem != "validation", file.stem)):
        records = found.setdefault(file.stem, [])
        with file.open(encoding="utf-8") as stream:
            for text in stream:
                if len(records) >= MAX_PREDICTIONS:
                    break
                try:
                    record = json.loads(text)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    records.append(record)
    return found


def read_tables(folder: Path, prefix: str) -> dict[str, list[dict[str, str]]]:
    """The rows of tables/<prefix>_<split>.csv by split."""
    found: dict[str, list[dict[str, str]]] = {}
    for file in sorted(folder.glob(f"{prefix}_*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            found[file.stem.removeprefix(f"{prefix}_")] = list(csv.DictReader(stream))
    return found


def as_number(value: Any) -> float | None:
    """A number of a summary, where NaN and inf are texts."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def figures_of(values: Any) -> dict[str, float]:
    """Those of a mapping that are numbers."""
    found = (
        {str(name): as_number(value) for name, value in values.items()} if isinstance(values, dict) else {}
    )
    return {name: value for name, value in found.items() if value is not None}
