"""Metrics of classes and groups as rows, and rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]


def class_report(predicted: np.ndarray, expected: np.ndarray, labels: Sequence[str]) -> Rows:
    """Precision, recall, F1, and how often each class is expected and predicted; NaN where undefined.

    `predicted` and `expected` are classes [N] int, or sets [N, C] bool; expected classes outside 0 to C - 1
    count for nothing. Precision is undefined for a class that was never predicted, recall for one that was
    never expected, F1 only where both are.
    """
    if predicted.ndim == 1:
        known = (expected >= 0) & (expected < len(labels))
        identity = np.eye(len(labels), dtype=bool)
        predicted, expected = identity[predicted[known]], identity[expected[known]]
    right = (predicted & expected).sum(axis=0)
    claimed, support = predicted.sum(axis=0), expected.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = right / claimed, right / support, 2 * right / (claimed + support)
    return [
        {
            "class": label,
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
            "predicted": int(claimed[index]),
        }
        for index, label in enumerate(labels)
    ]


def group_rows(metrics: Mapping[str, float], *, split: str) -> Rows:
    """One row for each group of a split, one column for each metric: from keys `split/metric/group`."""
    rows: dict[str, dict[str, Any]] = {}
    for key, value in metrics.items():
        of, metric, group = [*key.split("/", 2), "", ""][:3]
        if of == split and group:
            rows.setdefault(group, {"group": group})[metric] = value
    return list(rows.values())


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as CSV, with the columns of all of them in the order of their first appearance."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
