"""Verdicts on two sides, and a comparison on the terminal."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.text import Text

from runwright.analysis.compare import sides
from runwright.analysis.compare.paired import compare_rows
from runwright.analysis.compare.sides import Difference, Side, metric_names
from runwright.metric.bootstrap import CONFIDENCE, welch
from runwright.report import terminal

SEEDED = f"Welch's test over runs, {CONFIDENCE:.0%}"
MAX_VALUE = 40  # characters of a setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Tested differences between two sides."""

    differences: tuple[Difference, ...]  # the one of the metric that selected the checkpoints first
    notes: tuple[str, ...]  # why something could not be tested, and the limits of the rest

    @property
    def main(self) -> Difference | None:
        """The difference that decides."""
        return self.differences[0] if self.differences else None

    @property
    def words(self) -> str:
        """The answer in a sentence."""
        if (main := self.main) is None:
            return "Whether B is better than A cannot be tested."
        interval = main.interval
        amount, low, high = map(terminal.number_text, (abs(interval.value), interval.low, interval.high))
        about = f"interval of the difference [{low}, {high}] ({main.method}, n = {main.n})."
        way = "higher" if interval.value > 0 else "lower"
        if main.better is None:
            change = f"of B is {amount} {way}" if interval.value else "of both is equal"
            return f"No difference can be told between A and B: {main.metric} {change}, {about}"
        word = "better" if main.better == 1 else "worse"
        return f"B is {word} than A: {main.metric} is {amount} {way}, {about}"


def judge(first: Side, second: Side) -> Verdict:
    """Test whatever can be tested: by rows where each side is one run, by runs where each has several."""
    notes: list[str] = []
    differences: list[Difference] = []
    sizes = len(first.rows), len(second.rows)
    if min(sizes) > 1:
        differences += _compare_seeds(first, second)
        for letter, side in (("A", first), ("B", second)):
            if mixed := sides.mixed_settings(side):
                notes.append(f"the runs of {letter} differ in more than seeds: {', '.join(mixed[:5])}")
        notes.append("the interval is over seeds; test rows vary in it only where each seed held out its own")
    elif max(sizes) > 1:
        notes.append("one side is a single run: give several seeds for both, or one run for both")
    else:
        differences, notes = compare_rows(first, second)
        if differences:
            notes.append("the interval says what other rows would change, not what another seed would")
    for row in (*first.rows, *second.rows):
        if row.status != "FINISHED":
            notes.append(f"{row.short_id} has not finished ({row.status}): its metrics are its last ones")

    def rank(difference: Difference) -> tuple[bool, int, bool]:
        name = difference.metric.partition("/")[2]
        return name != first.best_metric, sides.split_rank(difference.metric), name != "loss"

    differences.sort(key=rank)
    return Verdict(differences=tuple(differences), notes=tuple(notes))


def _compare_seeds(first: Side, second: Side) -> Iterator[Difference]:
    for name in metric_names([first, second]):
        values = [np.array(side.values(name)) for side in (first, second)]
        is_group = name.count("/") != 1
        if is_group or min(map(len, values)) < 2 or not all(np.isfinite(side).all() for side in values):
            continue
        yield Difference(
            metric=name,
            first=float(values[0].mean()),
            second=float(values[1].mean()),
            interval=welch(*values),
            less_is_better=sides.less_is_better(name, first),
            method=SEEDED,
            n=f"{len(values[0])} and {len(values[1])} runs",
        )


def print_comparison(first: Side, second: Side, verdict: Verdict) -> None:
    """Print both sides, differing settings, metrics with their differences, and the verdict."""
    console = terminal.result_console()
    for letter, side in (("A", first), ("B", second)):
        console.print(Text.assemble((f"{letter}  ", "bold"), side.label), soft_wrap=True)
    if settings := sides.differing_settings([first, second]):
        rows = ([key, *(terminal.shorten(one, MAX_VALUE) for one in both)] for key, both in settings.items())
        terminal.print_table(terminal.table_of(["what differs", "A", "B"], rows), console=console, above=1)
    else:
        console.print("no setting differs")
    tested, rows = {difference.metric: difference for difference in verdict.differences}, []
    for name in (name for name in metric_names([first, second]) if name.count("/") == 1):
        values = first.values(name), second.values(name)
        rows.append([name, *map(terminal.mean_text, values), _difference_cell(tested.get(name), *values)])
    table = terminal.table_of(["metric", "A", "B", "B - A"], rows, right=["A", "B"])
    terminal.print_table(table, console=console, above=1, below=1)
    is_sure = verdict.main is not None and verdict.main.better is not None
    console.print(Text(verdict.words, style="bold" if is_sure else ""), soft_wrap=True)
    for note in verdict.notes:
        console.print(Text(f"  note: {note}", style="dim"), soft_wrap=True)


def _difference_cell(difference: Difference | None, first: Sequence[float], second: Sequence[float]) -> Text:
    """The difference with its interval, and its two values where the columns show others."""
    if difference is None:
        return Text("-")
    interval = difference.interval
    value, low, high = map(terminal.number_text, (interval.value, interval.low, interval.high))
    words = f"{value} [{low}, {high}]"
    pairs = (difference.first, first), (difference.second, second)
    if not all(math.isclose(x, statistics.fmean(shown), rel_tol=1e-6, abs_tol=1e-9) for x, shown in pairs):
        words += f" of {terminal.number_text(difference.first)} and {terminal.number_text(difference.second)}"
    return Text(words, style={None: "", 0: "red", 1: "green"}[difference.better])
