"""A comparison for people: who is compared, what differs, the figures, the answer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runwright.analysis.compare.difference import Difference, all_figures
from runwright.analysis.compare.sides import Side
from runwright.analysis.compare.verdict import Verdict
from runwright.analysis.runs.table import figure

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

MAX_VALUE = 40  # characters of a setting


def print_comparison(
    sides: Sequence[Side],
    settings: Mapping[str, Sequence[str]],
    verdicts: Sequence[Verdict],
    *,
    with_groups: bool,
) -> None:
    """Print all of it."""
    from rich.text import Text

    from runwright.report.terminal import print_table, result_console

    console = result_console()
    for side in sides:
        console.print(Text.assemble((f"{side.letter}  ", "bold"), side.label), soft_wrap=True)
    if settings:
        print_table(_settings_table(sides, settings), console=console, above=1)
    else:
        console.print("no setting differs")
    table = _figures_table(sides, verdicts, with_groups=with_groups)
    print_table(table, console=console, above=1, below=1)
    for verdict in verdicts:
        main = verdict.main
        style = "bold" if main is not None and main.better is not None else ""
        console.print(Text(verdict.words, style=style), soft_wrap=True)
    for note in dict.fromkeys(note for verdict in verdicts for note in verdict.notes):
        console.print(Text(f"  note: {note}", style="dim"), soft_wrap=True)


def summarised(values: Sequence[float]) -> str:
    """One value, or the mean of several with their standard deviation."""
    if not values:
        return "-"
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(statistics.fmean(values))} ± {figure(statistics.stdev(values))}"


def _settings_table(sides: Sequence[Side], settings: Mapping[str, Sequence[str]]) -> Table:
    from rich.text import Text

    table = _table("what differs", sides)
    for key, values in settings.items():
        short = (text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…" for text in values)
        table.add_row(Text(key), *map(Text, short))
    return table


def _figures_table(sides: Sequence[Side], verdicts: Sequence[Verdict], *, with_groups: bool) -> Table:
    from rich.text import Text

    table = _table("figure", sides, justify="right")
    for verdict in verdicts:
        table.add_column(Text(f"{verdict.letters[1]} - {verdict.letters[0]}"), no_wrap=True)
    by_name = [{each.figure: each for each in verdict.differences} for verdict in verdicts]
    names = [name for name in all_figures(sides) if with_groups or name.count("/") == 1]
    names += [name for found in by_name for name in found if name not in names]
    for name in names:
        differences = [found.get(name) for found in by_name]
        values = [side.values(name) for side in sides]
        for place, each in enumerate(differences, start=1):
            if each is not None:  # what was not recorded was computed here, from the predictions
                values[0], values[place] = values[0] or [each.first], values[place] or [each.second]
        cells = [Text(name), *(Text(summarised(of_side)) for of_side in values)]
        cells += [
            _cell(each, values[0], of_side) for each, of_side in zip(differences, values[1:], strict=True)
        ]
        table.add_row(*cells)
    return table


def _cell(difference: Difference | None, first: Sequence[float], second: Sequence[float]) -> Text:
    """The difference with its interval, and of what it is one where the columns show something else."""
    from rich.text import Text

    if difference is None:
        return Text("-")
    interval = difference.interval
    value, low, high = (figure(part) for part in (interval.value, interval.low, interval.high))
    words = f"{value} [{low}, {high}]"
    if not (_is_shown(difference.first, first) and _is_shown(difference.second, second)):
        words += f" of {figure(difference.first)} and {figure(difference.second)}"
    return Text(words, style={None: "", 0: "red", 1: "green"}[difference.better])


def _is_shown(value: float, shown: Sequence[float]) -> bool:
    return math.isclose(value, statistics.fmean(shown), rel_tol=1e-6, abs_tol=1e-9)


def _table(heading: str, sides: Sequence[Side], *, justify: str = "left") -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(heading, no_wrap=True)
    for side in sides:
        table.add_column(side.letter, justify="right" if justify == "right" else "left", no_wrap=True)
    return table
