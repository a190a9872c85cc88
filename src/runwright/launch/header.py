"""A column that a csv file lacks, found before anything is imported; its reader finds it seconds later."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runwright.errors import Mistake, did_you_mean, listed, raise_if_any

READER = "runwright.dataset.readers.files.read_csv"
TASKS = (  # that need every column they name
    "runwright.task.sequence_classification.SequenceClassification",
    "runwright.task.masked_language_modeling.MaskedLanguageModeling",
)
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}


def check_header(config: Mapping[str, Any]) -> None:
    """Raise ConfigError where the train file is a plain csv whose header lacks a column of the task.

    Any other source, and one whose columns cleaning may change, is left to its reader.
    """
    data, task = config["dataset"], config["task"]
    names = _header(data.get("source") or {})
    if not names or data.get("cleaning") or task["_target_"] not in TASKS:
        return
    renamed = data.get("columns") or {}
    names = [name for name in names if name not in renamed.values()] + list(renamed)
    raise_if_any(
        [
            Mistake(
                key=f"task.{key}",
                given=f"{column!r}",
                expected=f"a column of {data['source']['files']['train']}: {listed(names)}",
                hint=did_you_mean(column, names),
            )
            for key, column in task.items()
            if key.endswith("_column") and column is not None and column not in names
        ]
    )


def _header(source: Mapping[str, Any]) -> list[str]:
    """The names in the first line of a local csv file; empty where they cannot be told so simply."""
    file = (source.get("files") or {}).get("train") if source.get("_target_") == READER else None
    if not isinstance(file, str) or not source["header"] or source["column_names"] or source["quote"] != '"':
        return []
    delimiter: Any = DELIMITERS.get(source["delimiter"], source["delimiter"])
    path = Path(source["folder"] or "", file)
    if not path.is_file() or path.suffix not in (".csv", ".tsv", ".txt"):
        return []
    try:
        with path.open(encoding=source["encoding"].replace("utf-8", "utf-8-sig"), newline="") as lines:
            return [name.strip() for name in next(csv.reader(lines, delimiter=delimiter), [])]
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return []
