"""A comparison on the terminal, and the curves of all its runs in one plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runwright.analysis.compare.sides import Difference, Side, metric_names
from runwright.analysis.compare.verdict import Verdict
from runwright.analysis.runs.table import metric_text
from runwright.tracker.journal import FILE_NAME, read_curves

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

MAX_VALUE = 40  # characters of a setting
MAX_PANELS = 8
Curve = tuple[np.ndarray, np.ndarray]  # steps, values


def print_comparison(
    sides: Sequence[Side],
    settings: Mapping[str, Sequence[str]],
    verdicts: Sequence[Verdict],
    *,
    with_groups: bool,
) -> None:
    """Print sides, differing settings, metrics with their differences, and the verdicts."""
    from rich.text import Text

    from runwright.report.terminal import print_table, result_console

    console = result_console()
    for side in sides:
        console.print(Text.assemble((f"{side.letter}  ", "bold"), side.label), soft_wrap=True)
    if settings:
        table = _table("what differs", sides, justify="left")
        for key, values in settings.items():
            short = (text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…" for text in values)
            table.add_row(Text(key), *map(Text, short))
        print_table(table, console=console, above=1)
    else:
        console.print("no setting differs")
    print_table(_metrics_table(sides, verdicts, with_groups=with_groups), console=console, above=1, below=1)
    for verdict in verdicts:
        main = verdict.main
        style = "bold" if main is not None and main.better is not None else ""
        console.print(Text(verdict.words, style=style), soft_wrap=True)
    for note in dict.fromkeys(note for verdict in verdicts for note in verdict.notes):
        console.print(Text(f"  note: {note}", style="dim"), soft_wrap=True)


def _metrics_table(sides: Sequence[Side], verdicts: Sequence[Verdict], *, with_groups: bool) -> Table:
    from rich.text import Text

    table = _table("metric", sides, justify="right")
    for verdict in verdicts:
        table.add_column(Text(f"{verdict.letters[1]} - {verdict.letters[0]}"), no_wrap=True)
    by_name = [{difference.metric: difference for difference in verdict.differences} for verdict in verdicts]
    recorded = [name for name in metric_names(sides) if with_groups or name.count("/") == 1]
    for name in dict.fromkeys([*recorded, *(name for tested in by_name for name in tested)]):
        differences = [tested.get(name) for tested in by_name]
        values = [side.values(name) for side in sides]
        for index, difference in enumerate(differences, start=1):
            if difference is not None:  # a metric that was not recorded was computed from the predictions
                values[0] = values[0] or [difference.first]
                values[index] = values[index] or [difference.second]
        cells = [_difference_cell(*pair, values[0]) for pair in zip(differences, values[1:], strict=True)]
        table.add_row(Text(name), *(Text(_summary(of_side)) for of_side in values), *cells)
    return table


def _table(heading: str, sides: Sequence[Side], *, justify: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(heading, no_wrap=True)
    for side in sides:
        table.add_column(side.letter, justify="right" if justify == "right" else "left", no_wrap=True)
    return table


def _summary(values: Sequence[float]) -> str:
    """One value, or the mean of several with their standard deviation."""
    if len(values) < 2:
        return metric_text(values[0]) if values else "-"
    return f"{metric_text(statistics.fmean(values))} ± {metric_text(statistics.stdev(values))}"


def _difference_cell(difference: Difference | None, second: Sequence[float], first: Sequence[float]) -> Text:
    """The difference with its interval, and its two values where the columns show others."""
    from rich.text import Text

    if difference is None:
        return Text("-")
    interval = difference.interval
    value, low, high = map(metric_text, (interval.value, interval.low, interval.high))
    words = f"{value} [{low}, {high}]"
    pairs = (difference.first, first), (difference.second, second)
    if not all(math.isclose(x, statistics.fmean(shown), rel_tol=1e-6, abs_tol=1e-9) for x, shown in pairs):
        words += f" of {metric_text(difference.first)} and {metric_text(difference.second)}"
    return Text(words, style={None: "", 0: "red", 1: "green"}[difference.better])


def plot_curves(path: Path, sides: Sequence[Side]) -> Path | None:
    """Write a plot with a panel for each metric and a colour for each side; None without common curves."""
    from runwright.report.canvas import colour, legend, new_figure, save, title, write_ticks
    from runwright.report.curve_plots import smoothed

    curves = [[_read_curves(row.folder) for row in side.rows] for side in sides]
    names = _common_names(curves)
    if not names:
        return None
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    picture, axes = new_figure(rows, columns, width=6.2 * columns, height=3.3 * rows + 0.3)
    for panel, name in zip(axes, names, strict=False):
        is_noisy = name == "train/loss"
        title(panel, name, below="smoothed" if is_noisy else "")
        for index, (side, of_side) in enumerate(zip(sides, curves, strict=True)):
            is_single = len(of_side) == 1
            for number, (steps, values) in enumerate(run[name] for run in of_side if name in run):
                panel.plot(
                    steps,
                    smoothed(values) if is_noisy else values,
                    "-" if is_noisy else "o-",
                    color=colour(index),
                    linewidth=2 if is_single else 1.2,
                    markersize=4,
                    alpha=1 if is_single else 0.8,
                    label=None if number else f"{side.letter}  {side.names}",
                )
        panel.set_xlabel("step", fontsize=10)
        write_ticks(panel.xaxis, ",.0f")
    legend(axes[0])
    for unused in axes[len(names) :]:
        unused.set_visible(False)
    return save(picture, path)


def _read_curves(folder: Path | None) -> dict[str, Curve]:
    if folder is None or not (folder / FILE_NAME).is_file():
        return {}
    return {name: curve for name, curve in read_curves(folder / FILE_NAME).items() if len(curve[0])}


def _common_names(curves: Sequence[Sequence[dict[str, Curve]]]) -> list[str]:
    """Losses first, then the other metrics of whole splits that every side has."""

    def is_shown(name: str) -> bool:
        is_evaluated = name.startswith("validation/") and name.count("/") == 1
        is_curve = any(len(run[name][0]) > 1 for side in curves for run in side if name in run)
        return is_curve and (name == "train/loss" or is_evaluated)

    of_sides = [set().union(*(run.keys() for run in side)) for side in curves]
    names = filter(is_shown, set.intersection(*of_sides))  # a single point is no curve: the table has it
    return sorted(names, key=lambda name: (not name.endswith("/loss"), name))[:MAX_PANELS]
