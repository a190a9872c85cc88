"""The curves of several runs in one picture: a panel for each figure, a colour for each side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runwright.analysis.compare.sides import Side
from runwright.report.page.charts import smoothed
from runwright.report.plots import COLOURS, legend, new_figure, save, title, write_ticks
from runwright.tracker.journal import FILE_NAME, read_curves

MAX_PANELS = 8
Curve = tuple[np.ndarray, np.ndarray]


def plot_curves(path: Path, sides: Sequence[Side]) -> Path | None:
    """Write the picture; None where no two runs have a curve in common."""
    curves = [[_read(row.folder) for row in side.rows] for side in sides]
    names = _common_names(curves)
    if not names:
        return None
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    picture, axes = new_figure(rows, columns, width=6.2 * columns, height=3.3 * rows + 0.3)
    for each, name in zip(axes, names, strict=False):
        is_noisy = name == "train/loss"
        title(each, name, below="smoothed" if is_noisy else "")
        for place, (side, of_side) in enumerate(zip(sides, curves, strict=True)):
            for number, run in enumerate(found[name] for found in of_side if name in found):
                steps, values = run
                shown = smoothed(values) if is_noisy else values
                label = f"{side.letter}  {', '.join(dict.fromkeys(row.name for row in side.rows))}"
                each.plot(
                    steps,
                    shown,
                    "-" if is_noisy else "o-",
                    color=COLOURS[place % len(COLOURS)],
                    linewidth=2 if len(of_side) == 1 else 1.2,
                    markersize=4,
                    alpha=1 if len(of_side) == 1 else 0.8,
                    label=label if number == 0 else None,
                )
        each.set_xlabel("step", fontsize=10)
        write_ticks(each.xaxis, ",.0f")
    legend(axes[0])
    for unused in axes[len(names) :]:
        unused.set_visible(False)
    return save(picture, path)


def _read(folder: Path | None) -> dict[str, Curve]:
    if folder is None or not (folder / FILE_NAME).is_file():
        return {}
    return {name: curve for name, curve in read_curves(folder / FILE_NAME).items() if len(curve[0])}


def _common_names(curves: Sequence[Sequence[dict[str, Curve]]]) -> list[str]:
    """Losses first, then the other figures of whole splits that every side has."""
    of_sides = [set().union(*(run.keys() for run in side)) for side in curves]
    names = set.intersection(*of_sides) if of_sides else set()
    lengths = {
        name: max(len(run[name][0]) for side in curves for run in side if name in run) for name in names
    }
    # A single point is no curve: the table has it.
    kept = [name for name in names if lengths[name] > 1 and (name == "train/loss" or _is_evaluated(name))]
    return sorted(kept, key=lambda name: (not name.endswith("/loss"), name))[:MAX_PANELS]


def _is_evaluated(name: str) -> bool:
    return name.startswith("validation/") and name.count("/") == 1
