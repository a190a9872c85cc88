"""The plots that a run leaves, from plain arrays; each function returns the files it wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from runwright.report.curve_plots import Curves

NUMBERS_FILE = "numbers.json"


def write_run_plots(folder: Path, curves: Curves, *, best_step: int | None = None) -> dict[str, Path]:
    """Loss, learning rate and metrics over the steps; what was not recorded has no plot."""
    from runwright.report.curve_plots import plot_learning_rate, plot_loss, plot_metrics

    written = {
        "loss": plot_loss(folder / "loss.png", curves, best_step=best_step),
        "learning_rate": plot_learning_rate(folder / "learning_rate.png", curves),
        "metrics": plot_metrics(folder / "metrics.png", curves, best_step=best_step),
    }
    return {name: path for name, path in written.items() if path is not None}


def write_prediction_plots(
    folder: Path,
    *,
    split: str,
    predicted: np.ndarray,
    expected: np.ndarray,
    labels: Sequence[str] = (),
    groups: np.ndarray | None = None,
    group_names: Sequence[str] = (),
) -> dict[str, Path]:
    """A confusion matrix for classes [N] int, a scatter for figures [N] float, nothing for sets [N, C]."""
    from runwright.report.prediction_plots import plot_confusion, plot_regression

    if predicted.ndim != 1 or len(predicted) == 0:
        return {}
    if np.issubdtype(predicted.dtype, np.floating):
        path = plot_regression(
            folder / f"regression_{split}.png",
            predicted,
            expected,
            groups=groups,
            group_names=group_names,
            subtitle=split,
        )
        return {f"regression_{split}": path}
    counts = confusion_counts(predicted, expected, num_classes=len(labels))
    path = plot_confusion(folder / f"confusion_{split}.png", counts, labels, subtitle=split)
    return {f"confusion_{split}": path}


def write_data_plots(
    folder: Path,
    *,
    lengths: Mapping[str, np.ndarray],
    max_length: int | None,
    class_counts: Mapping[str, Sequence[int]] | None = None,
    labels: Sequence[str] = (),
) -> dict[str, Path]:
    """Text lengths [N] in tokens before truncation, and class frequencies [C], both by split."""
    from runwright.report.data_plots import data_numbers, plot_classes, plot_lengths

    written = {}
    if any(len(values) for values in lengths.values()):
        numbers = data_numbers(lengths, max_length=max_length, class_counts=class_counts or {}, labels=labels)
        folder.mkdir(parents=True, exist_ok=True)
        # Not a plot, so not returned: for the page of the run, which draws them again.
        (folder / NUMBERS_FILE).write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
        written["lengths"] = plot_lengths(folder / "lengths.png", lengths, max_length=max_length)
    if class_counts and labels:
        written["classes"] = plot_classes(folder / "classes.png", class_counts, labels)
    return written


def confusion_counts(predicted: np.ndarray, expected: np.ndarray, *, num_classes: int) -> np.ndarray:
    """How often each expected class (row) was predicted as each class (column), [C, C] int64.

    Expected values outside 0 to C - 1 (such as -100, no label) are left out.
    """
    known = (expected >= 0) & (expected < num_classes)
    flat = expected[known].astype(np.int64) * num_classes + predicted[known].astype(np.int64)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)
