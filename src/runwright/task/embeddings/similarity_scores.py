"""How similar two texts are said to be: scores of any range as numbers from 0 to 1."""

from __future__ import annotations

import math
from typing import Any

from datasets import Dataset

from runwright.errors import DataError
from runwright.task.labels import missing_column


def read_scores(
    rows: Dataset, column: str | None, *, low: float, high: float, split: str
) -> list[float] | None:
    """Scores of a split, 0 for `low` and 1 for `high`; None where there are none, which train must have.

    Raises DataError naming split, row and column of a value that is no number in that range.
    """
    if column is None or (column not in rows.column_names and split != "train"):
        return None
    if column not in rows.column_names:
        raise missing_column(rows, column, option="task.label_column")
    scores = []
    for place, value in enumerate(rows[column]):
        score = _number(value)
        if score is None or not low <= score <= high:
            problem = f"given {value!r}, expected a number from task.label_min={low} to label_max={high}"
            raise DataError(problem, split=split, row=place, column=column)
        scores.append((score - low) / (high - low))
    return scores


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
