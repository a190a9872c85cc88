"""What a model got right and wrong: confusion matrix, predicted against expected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runwright.report.canvas import COLOURS, GREY, names_that_fit, new_figure, plain, save, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASSES_WITH_COUNTS = 16  # beyond, a cell has no room for a number
MAX_CLASSES_WITH_NAMES = 80
TICKS = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)
MAX_POINTS = 4000  # beyond, a scatter is a blot: density is drawn


def plot_confusion(path: Path, counts: np.ndarray, labels: Sequence[str], *, subtitle: str = "") -> Path:
    """Confusion matrix, counts [C, C] with expected classes in rows; colour is the share of the row."""
    from matplotlib.colors import PowerNorm

    num_classes = len(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = min(13.0, max(4.6, 2.6 + 0.62 * min(num_classes, 12) + 0.11 * max(0, num_classes - 12)))
    longest = max(map(len, names_that_fit(labels)), default=0)
    figure, (axes,) = new_figure(width=size + 0.7 + 0.06 * longest, height=size)
    # The square root keeps a mistake of 1 % visible beside a diagonal of 90 %.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("share of the expected class", fontsize=9.5)
    bar.set_ticks(TICKS, labels=[f"{tick:.0%}" for tick in TICKS])
    axes.grid(visible=False)
    _name_classes(axes, labels)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("expected", fontsize=10)
    if num_classes <= MAX_CLASSES_WITH_COUNTS:
        _write_cells(axes, counts, shares)
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    about = f"{counts.sum():,} examples, {accuracy:.1%} on the diagonal"
    title(axes, "Confusion", below=", ".join(filter(None, [subtitle, about, _worst_pair(counts, labels)])))
    return save(figure, path)


def plot_regression(
    path: Path,
    predicted: np.ndarray,
    expected: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] = (),
    subtitle: str = "",
) -> Path:
    """Predicted against expected values [N], all together or one panel for each group (indices [N])."""
    panels = [("Predicted and expected", np.ones(len(expected), dtype=bool))]
    if groups is not None and len(group_names) > 1:
        panels = [(name, groups == index) for index, name in enumerate(group_names)]
        panels = [(name, mask) for name, mask in panels if mask.any()][:9]
    columns = 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3
    rows = -(-len(panels) // columns)
    size = 5.4 if columns == 1 else 4.1
    figure, axes = new_figure(rows, columns, width=size * columns, height=size * rows + 0.2)
    limits = _limits(predicted, expected)
    for each, (name, mask) in zip(axes, panels, strict=False):
        _draw_pairs(each, predicted[mask], expected[mask], limits)
        pearson = correlation(predicted[mask], expected[mask])
        error = np.abs(predicted - expected)[mask].mean()
        about = f"{mask.sum():,} examples, r = {pearson:.3f}, mean error {error:.3g}"
        title(each, name, below=about)
        each.set_xlabel("expected", fontsize=10)
        each.set_ylabel("predicted", fontsize=10)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    if subtitle:
        figure.suptitle(plain(subtitle), fontsize=11, color=GREY, x=0.015, ha="left")
    return save(figure, path)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r; NaN where one of them does not vary."""
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _draw_pairs(axes: Axes, predicted: np.ndarray, expected: np.ndarray, limits: tuple[float, float]) -> None:
    if len(expected) > MAX_POINTS:
        looks = {"gridsize": 45, "bins": "log", "mincnt": 1, "cmap": "Blues", "linewidths": 0}
        axes.hexbin(expected, predicted, extent=(*limits, *limits), **looks)
    else:
        # Fainter and smaller the more there are, so that density shows.
        crowd = min(1.0, 250 / max(len(expected), 1))
        size, alpha = 8 + 14 * crowd, 0.25 + 0.5 * crowd
        axes.scatter(expected, predicted, s=size, alpha=alpha, color=COLOURS[0], linewidths=0)
    axes.plot(limits, limits, color=GREY, linestyle="--", linewidth=1.2)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_aspect("equal")


def _limits(*values: np.ndarray) -> tuple[float, float]:
    finite = np.concatenate([array[np.isfinite(array)] for array in values])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _name_classes(axes: Axes, labels: Sequence[str]) -> None:
    num_classes = len(labels)
    step = -(-num_classes // MAX_CLASSES_WITH_NAMES)
    places = list(range(0, num_classes, step))
    names = names_that_fit([labels[place] for place in places])
    size = 9.5 if num_classes <= 20 else 6.5
    longest = max(map(len, names), default=0)
    angle = 90 if num_classes > 12 else 45 if num_classes > 6 or longest * num_classes > 40 else 0
    axes.set_xticks(places, names, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    for label in axes.get_xticklabels():
        label.set(rotation=angle, rotation_mode="anchor" if angle == 45 else "default")
        label.set(horizontalalignment="right" if angle == 45 else "center")


def _write_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    size = 10 if len(counts) <= 8 else 7.5
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column] == 0 and row != column:
            continue
        colour = "white" if shares[row, column] > 0.35 else "#1F2937"
        text = f"{shares[row, column]:.0%}\n{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour, linespacing=1.25)


def _worst_pair(counts: np.ndarray, labels: Sequence[str]) -> str:
    """The pair that is mistaken most often, where the matrix is too large to read it off."""
    wrong = counts - np.diag(np.diag(counts))
    if len(counts) <= MAX_CLASSES_WITH_COUNTS or wrong.max() == 0:
        return ""
    row, column = divmod(int(wrong.argmax()), len(counts))
    expected, predicted = plain(labels[row], longest=24), plain(labels[column], longest=24)
    return f"most often {expected} as {predicted} ({wrong.max():,})"
