"""Figures over a threshold: what it costs and gains to say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runwright.report.canvas import GREY, colour, legend, new_figure, plain, save, title

THRESHOLD = "threshold"  # a table with such a column is drawn
MARKS = ("best", "used")  # columns that say which row is which


def plot_thresholds(path: Path, rows: Sequence[Mapping[str, Any]], *, subtitle: str = "") -> Path:
    """Every other column of the table over the column `threshold`, with the rows marked best and used."""
    figure, (axes,) = new_figure()
    places = [row[THRESHOLD] for row in rows]
    names = [name for name in rows[0] if name not in (THRESHOLD, *MARKS)]
    for index, name in enumerate(names):
        axes.plot(places, [row[name] for row in rows], color=colour(index), linewidth=2, label=plain(name))
    about = [subtitle] if subtitle else []
    for mark, style in zip(MARKS, ("--", "-"), strict=True):
        for row in rows:
            if row.get(mark):
                axes.axvline(row[THRESHOLD], color=GREY, linestyle=style, linewidth=1.2)
                figures = ", ".join(f"{name} {row[name]:.3f}" for name in names)
                about.append(f"{mark} at {row[THRESHOLD]:.3g}: {figures}")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("threshold", fontsize=10)
    title(axes, "Figures at each threshold", below="; ".join(about[:2]))
    legend(axes)
    return save(figure, path)
