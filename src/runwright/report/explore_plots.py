"""What truncation would cut at each length, and how labels that are numbers are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from runwright.report.canvas import (
    GREY,
    colour,
    draw_shares,
    legend,
    new_figure,
    plain,
    save,
    title,
    write_ticks,
)


def plot_truncation(
    path: Path, cut: Mapping[str, Sequence[Mapping[str, float]]], *, max_length: int | None
) -> Path:
    """Shares that each length cuts, by split; a point has `max_length`, `rows` and `tokens`."""
    figure, (axes,) = new_figure(height=3.6)
    for index, (split, points) in enumerate(cut.items()):
        limits = [point["max_length"] for point in points]
        for what, style in (("rows", "o-"), ("tokens", "s--")):
            shares = [100 * point[what] for point in points]
            label = f"{plain(split)}, {what}"
            axes.plot(limits, shares, style, color=colour(index), linewidth=1.8, markersize=5, label=label)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    if max_length is not None:
        axes.axvline(max_length, color=GREY, linestyle=":", linewidth=1.4, label=f"max_length {max_length}")
    write_ticks(axes.xaxis, ",.0f")
    axes.set_xlabel("max_length in tokens", fontsize=10)
    axes.set_ylabel("% cut", fontsize=10)
    title(axes, "Truncation", below="rows that lose something, and the tokens they lose")
    legend(axes)
    return save(figure, path)


def plot_numbers(path: Path, numbers: Mapping[str, np.ndarray]) -> Path:
    """Histogram of labels that are numbers, as shares by split."""
    figure, (axes,) = new_figure(height=3.6)
    everything = np.concatenate(list(numbers.values()))
    bins = np.linspace(everything.min(), everything.max(), 41).tolist() if np.ptp(everything) else 1
    for index, (split, values) in enumerate(numbers.items()):
        if len(values):
            label = f"{plain(split)} (mean {values.mean():.3g}, sd {values.std():.3g})"
            draw_shares(axes, values, bins=bins, index=index, label=label)
    axes.set_xlabel("label", fontsize=10)
    axes.set_ylabel("% of rows", fontsize=10)
    title(axes, "Labels", below=f"from {everything.min():.4g} to {everything.max():.4g}")
    legend(axes)
    return save(figure, path)
