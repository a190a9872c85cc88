"""Data of each chart from plain numbers: drawn by the script of a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from runwright.report.page.document import Chart, number_text
from runwright.report.terminal import shorten

Curve = tuple[np.ndarray, np.ndarray]  # steps and values

# Training's own metrics have other charts; what is recorded once, at the end, has none.
NO_CURVES = ("train", "best", "test", "speed", "time", "system", "memory", "data")

MAX_CURVE_POINTS = 2500  # beyond, means of neighbouring steps are drawn
MAX_POINTS = 2000  # of a scatter; a text goes with each
MAX_TEXT = 180
MAX_CLASSES = 200
NAMED_CLASSES = 40  # in the script too: beyond, a confusion matrix has no names beside it
MAX_BARS = 60
MAX_BINS = 60
MAX_LINES = 24
MAX_PANELS = 12


def loss_chart(curves: Mapping[str, Curve], *, best_step: int | None) -> Chart | None:
    """Loss of training steps, smoothed, and of evaluations; None without any."""
    losses = {
        name.removesuffix("/loss"): curve
        for name, curve in curves.items()
        if name.count("/") == 1 and name.endswith("/loss") and len(curve[0]) and not name.startswith("test/")
    }
    if not losses:
        return None
    about = "at the end: " + ", ".join(f"{name} {values[-1]:.4g}" for name, (_, values) in losses.items())
    series = [line(name, *curve, raw=name == "train") for name, curve in losses.items()]
    return curves_chart("Loss", about, series, best_step=best_step, smooth="train" in losses, whole=True)


def training_charts(curves: Mapping[str, Curve]) -> list[Chart]:
    """Learning rate, gradient norm and whatever else was recorded of training steps."""
    charts = []
    for name, (steps, values) in curves.items():
        split, _, metric = name.partition("/")
        if split != "train" or metric in ("loss", "epoch") or len(steps) < 2:
            continue
        is_rate, title = metric == "learning_rate", metric.replace("_", " ").capitalize()
        series = [line(metric, steps, values, raw=not is_rate)]
        about = f"last {number_text(float(values[-1]))}"
        charts.append(curves_chart(title, about, series, smooth=not is_rate))
    return charts[:MAX_PANELS]


def metric_charts(curves: Mapping[str, Curve], *, best_step: int | None) -> list[Chart]:
    """One chart for each metric that was evaluated more than once, with its splits and groups."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for name, (steps, values) in sorted(curves.items(), key=lambda item: item[0].count("/")):
        split, _, rest = name.partition("/")
        metric, _, group = rest.partition("/")
        if not metric or split in NO_CURVES or len(steps) < 2 or (metric == "loss" and not group):
            continue
        panels.setdefault(metric, []).append(line(f"{split}/{group}" if group else split, steps, values))
    return [
        curves_chart(metric, f"{len(series[0]['x'])} evaluations", series[:MAX_LINES], best_step=best_step)
        for metric, series in list(panels.items())[:MAX_PANELS]
    ]


def charts_of_runs(runs: Sequence[tuple[str, Mapping[str, Curve]]], about: str) -> Iterator[Chart]:
    """Training losses of named runs, then each metric of the validation split evaluated repeatedly."""
    if losses := [(name, curves["train/loss"]) for name, curves in runs if "train/loss" in curves]:
        series = [line(name, *curve, raw=True) for name, curve in losses]
        yield curves_chart("Training loss", about, series, smooth=True, whole=True)
    metrics = dict.fromkeys(
        metric
        for _, curves in runs
        for metric, (steps, _) in curves.items()
        if metric.startswith("validation/") and metric.count("/") == 1 and len(steps) > 1
    )
    for metric in list(metrics)[:MAX_PANELS]:
        series = [line(name, *curves[metric]) for name, curves in runs if metric in curves]
        yield curves_chart(metric, about, series)


def curves_chart(
    title: str,
    about: str,
    series: Sequence[dict[str, Any]],
    *,
    best_step: int | None = None,
    smooth: bool = False,
    whole: bool = False,
) -> Chart:
    marks = [] if best_step is None else [{"x": best_step, "text": f"best, step {best_step:,}"}]
    finite = [value for curve in series for value in curve["y"] if value is not None and np.isfinite(value)]
    data = {
        "series": list(series),
        "x": "step",
        "marks": marks,
        "smooth": smooth,
        "log": (smooth or "loss" in title.lower()) and bool(finite) and min(finite) > 0,
        "height": 320 if whole else 250,
    }
    return Chart(kind="curves", title=title, about=about, data=data, whole=whole)


def line(name: str, steps: np.ndarray, values: np.ndarray, *, raw: bool = False) -> dict[str, Any]:
    """One curve; a `raw` one is noisy and drawn smoothed; of many points means of neighbours are drawn."""
    width = -(-len(steps) // MAX_CURVE_POINTS)
    if width > 1:
        starts = np.arange(0, len(steps), width)
        counts = np.diff(np.append(starts, len(steps)))
        steps, values = steps[starts], np.add.reduceat(values, starts) / counts
    points = not raw and len(steps) <= 40
    return {"name": name, "x": steps.tolist(), "y": values.tolist(), "smooth": raw, "points": points}


def scatter_chart(
    split: str,
    predicted: np.ndarray,
    expected: np.ndarray,
    *,
    texts: Sequence[str],
    groups: Sequence[str] | None = None,
) -> Chart:
    """A scatter of numbers [N] float, at least one; a point has its text and its group."""
    error, r = float(np.abs(predicted - expected).mean()), correlation(predicted, expected)
    about = f"{len(predicted):,} examples, r = {r:.3f}, mean error {error:.3g}"
    shown, names = np.arange(len(predicted)), sorted(set(groups or ()))
    if len(shown) > MAX_POINTS:
        shown = np.sort(np.random.default_rng(0).choice(len(shown), MAX_POINTS, replace=False))
        about += f"; {MAX_POINTS:,} of them drawn"
    data = {
        "px": expected[shown].tolist(),
        "py": predicted[shown].tolist(),
        "texts": [_cut(texts[index]) for index in shown.tolist()],
        "groups": names,
        "group": [names.index(groups[index]) for index in shown.tolist()] if groups else None,
        "x": "expected",
        "y": "predicted",
        "diagonal": True,
    }
    return Chart(kind="scatter", title=f"Predicted and expected, {split}", about=about, data=data)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r; NaN where one of them does not vary."""
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def matrix_chart(
    split: str, predicted: np.ndarray, expected: np.ndarray, names: Sequence[str]
) -> Chart | None:
    """Confusion matrix of class indices [N] int64; None where there are too many classes to see any."""
    if not 0 < len(names) <= MAX_CLASSES:
        return None
    size = len(names)
    counts = np.bincount(expected * size + predicted, minlength=size**2).reshape(size, size)
    about = f"{counts.sum():,} examples, {np.trace(counts) / max(counts.sum(), 1):.1%} on the diagonal"
    wrong = counts - np.diag(np.diag(counts))
    if wrong.max() > 0:
        row, column = divmod(int(wrong.argmax()), len(names))
        about += f"; most often {_cut(names[row], 40)} as {_cut(names[column], 40)} ({wrong.max():,})"
    cells = [[int(r), int(c), int(counts[r, c])] for r, c in np.argwhere(counts > 0)]
    return Chart(
        kind="matrix",
        title=f"Confusion, {split}",
        about=about,
        data={"names": [str(name) for name in names], "cells": cells},
        whole=12 < len(names) <= NAMED_CLASSES,
    )


def lengths_chart(lengths: Mapping[str, np.ndarray], *, max_length: int | None) -> Chart | None:
    """Tokens of each text before truncation, as shares by split."""
    everything = np.concatenate([np.empty(0, np.int64), *lengths.values()])
    if not len(everything):
        return None
    right = int(np.quantile(everything, 0.995)) + 1
    width = max(1, -(-right // MAX_BINS))
    edges, about, marks = np.arange(0, right + width, width), f"longest {everything.max():,} tokens", []
    if max_length:
        about += f"; cut at {max_length}: {(everything > max_length).mean():.2%} of texts"
        marks = [{"x": max_length, "text": f"max_length {max_length}"}] if max_length <= edges[-1] else []
    axes = {"x": "tokens", "y": "% of texts", "marks": marks}
    return _histogram("Text lengths", about, lengths, edges, axes)


def numbers_chart(numbers: Mapping[str, np.ndarray]) -> Chart | None:
    """Histogram of labels that are numbers, as shares by split."""
    everything = np.concatenate([np.empty(0), *numbers.values()])
    if not len(everything):
        return None
    lowest, highest = everything.min(), everything.max()
    edges = np.linspace(lowest, highest, 41) if highest > lowest else np.array([lowest - 0.5, lowest + 0.5])
    axes = {"x": "label", "y": "% of rows", "marks": []}
    return _histogram("Labels", f"from {lowest:.4g} to {highest:.4g}", numbers, edges, axes)


def _histogram(
    title: str, about: str, values: Mapping[str, np.ndarray], edges: np.ndarray, axes: dict[str, Any]
) -> Chart:
    """A line in steps for each split, in percent of its values."""
    series = []
    for split, of_split in values.items():
        if len(of_split):
            shares = 100 * np.histogram(of_split, edges)[0] / len(of_split)
            name = f"{split} ({len(of_split):,}, median {np.median(of_split):.4g})"
            series.append({"name": name, "x": edges.tolist(), "y": [*shares.tolist(), 0.0], "steps": True})
    data = {"series": series, "zero": True, "height": 280, **axes}
    return Chart(kind="curves", title=title, about=about, data=data)


def classes_chart(counts: Mapping[str, Sequence[int]], labels: Sequence[str]) -> Chart | None:
    """Share of each class in each split, the most frequent first."""
    if not labels or not counts:
        return None
    table = np.array([counts[split] for split in counts], dtype=float)
    totals = table.sum(axis=0)
    order, rarest = np.argsort(-totals, kind="stable")[:MAX_BARS], int(np.argmin(totals))
    shares = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    series = [
        {
            "name": f"{split} ({int(table[index].sum()):,})",
            "values": shares[index, order].tolist(),
            "counts": table[index, order].astype(int).tolist(),
        }
        for index, split in enumerate(counts)
    ]
    about = f"{len(labels)} classes, rarest {_cut(labels[rarest], 40)}: {int(totals[rarest]):,}"
    if len(labels) > MAX_BARS:
        about += f"; the {len(labels) - MAX_BARS} rarest not drawn"
    data = {"names": [str(labels[index]) for index in order], "series": series, "x": "% of labels"}
    return Chart(kind="bars", title="Classes", about=about, data=data, whole=len(labels) > 12)


def _cut(text: object, longest: int = MAX_TEXT) -> str:
    return shorten(" ".join(str(text).split()), longest)
