"""Curves over the steps of a run: loss, learning rate, metrics of evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runwright.report.canvas import COLOURS, GREY, colour, legend, new_figure, plain, save, title, write_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Steps and values by name, as the journal gives them: `train/loss`, `validation/f1_macro`, …"""

MAX_LINES = 7  # in one panel; more cannot be told apart
MAX_PANELS = 12

# Training's own figures have other plots; what is recorded once, at the end, has none.
NO_CURVES = ("train", "best", "test", "speed", "time", "system", "memory", "data")


def plot_loss(path: Path, curves: Curves, *, best_step: int | None = None) -> Path | None:
    """Training loss of single steps and smoothed, with the losses of evaluations; None without any."""
    losses = {
        name.removesuffix("/loss"): curve
        for name, curve in curves.items()
        if name.count("/") == 1 and name.endswith("/loss") and len(curve[0])
    }
    if not losses:
        return None
    figure, (axes,) = new_figure()
    visible: list[np.ndarray] = []
    if "train" in losses:
        steps, values = losses["train"]
        usual = _usual(values)
        smooth = smoothed(np.clip(values, *usual))  # one wild step must not lift the whole window
        axes.plot(steps, values, color=COLOURS[0], alpha=0.25, linewidth=1, label="train, each step")
        axes.plot(steps, smooth, color=COLOURS[0], linewidth=2, label="train, smoothed")
        visible += [usual, smooth]
    others = [split for split in losses if split != "train"]
    for index, split in enumerate(others, start=1):
        steps, values = losses[split]
        axes.plot(steps, values, "o-", color=colour(index), linewidth=1.5, markersize=5, label=split)
        visible += [values]
    _fit(axes, np.concatenate(visible))
    _mark_best(axes, best_step)
    title(axes, "Loss", below=_last_values({split: losses[split] for split in losses}))
    _over_steps(axes, "loss")
    legend(axes)
    return save(figure, path)


def plot_learning_rate(path: Path, curves: Curves) -> Path | None:
    """Learning rate over the steps; None where it was not recorded."""
    name = next((name for name in ("train/learning_rate", "train/lr") if name in curves), None)
    if name is None or not np.isfinite(curves[name][1]).any():
        return None
    figure, (axes,) = new_figure(height=3.2)
    steps, values = curves[name]
    axes.plot(steps, values, color=COLOURS[0], linewidth=2)
    axes.set_ylim(bottom=0)
    write_ticks(axes.yaxis, "g")
    peak = int(np.nanargmax(np.where(np.isfinite(values), values, np.nan)))
    about = f"highest {values[peak]:.3g} at step {steps[peak]:,}, last {values[-1]:.3g}"
    title(axes, "Learning rate", below=about)
    _over_steps(axes, "learning rate")
    return save(figure, path)


def plot_metrics(path: Path, curves: Curves, *, best_step: int | None = None) -> Path | None:
    """One panel for each metric, a line for each split and group; None without any.

    `validation/f1/movies` is the line `validation/movies` in the panel `f1`.
    """
    panels = _by_metric(curves)
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, width=5.2 * columns + 0.5, height=3.1 * rows + 0.3)
    for each, (metric, lines) in zip(axes, panels.items(), strict=False):
        for index, (name, (steps, values)) in enumerate(list(lines.items())[:MAX_LINES]):
            style, width = (".--", 1.2) if "/" in name else ("o-", 2.0)
            each.plot(steps, values, style, color=colour(index), linewidth=width, label=plain(name))
        hidden = len(lines) - MAX_LINES
        title(each, metric, below=f"{hidden} more groups not drawn" if hidden > 0 else "")
        _mark_best(each, best_step)
        _over_steps(each, "")
        if len(lines) > 1:
            legend(each, fontsize=8.5)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    return save(figure, path)


def smoothed(values: np.ndarray, *, share: float = 0.02) -> np.ndarray:
    """Mean over `share` of all points to each side; NaN and inf are left out."""
    width = max(1, round(len(values) * share))
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    places = np.arange(len(values))
    low, high = np.maximum(places - width, 0), np.minimum(places + width + 1, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums[high] - sums[low]) / (counts[high] - counts[low])


def _by_metric(curves: Curves) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Metric -> (split, or split/group) -> curve; training's own figures and losses have other plots."""
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, curve in sorted(curves.items(), key=lambda item: item[0].count("/")):
        split, _, rest = name.partition("/")
        metric, _, group = rest.partition("/")
        if not metric or metric == "loss" or split in NO_CURVES:
            continue
        if len(curve[0]) > 1:  # a single point is no curve; the summary has it
            panels.setdefault(metric, {})[f"{split}/{group}" if group else split] = curve
    return dict(list(panels.items())[:MAX_PANELS])


def _last_values(losses: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    ends = {
        split: smoothed(np.clip(values, *_usual(values)))[-1] if split == "train" else values[-1]
        for split, (_, values) in losses.items()
    }
    return "at the end: " + ", ".join(f"{split} {value:.4g}" for split, value in ends.items())


def _usual(values: np.ndarray) -> np.ndarray:
    """The range of all but the wildest steps: from 200 on, the outer half percent is left out."""
    finite = values[np.isfinite(values)]
    return np.quantile(finite, [0.005, 0.995]) if len(finite) else np.array([-np.inf, np.inf])


def _fit(axes: Axes, values: np.ndarray) -> None:
    """Limits that single wild steps do not stretch."""
    finite = values[np.isfinite(values)]
    if len(finite):
        low, high = float(finite.min()), float(finite.max())
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(max(0.0, low - margin) if low >= 0 else low - margin, high + margin)


def _mark_best(axes: Axes, step: int | None) -> None:
    if step is not None:
        axes.axvline(step, color=GREY, linestyle=":", linewidth=1.3, label=f"best, step {step:,}")


def _over_steps(axes: Axes, what: str) -> None:
    axes.set_xlabel("step", fontsize=10)
    axes.set_ylabel(what, fontsize=10)
    write_ticks(axes.xaxis, ",.0f")
    axes.margins(x=0.02)
