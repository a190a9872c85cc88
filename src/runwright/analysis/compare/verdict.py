"""Verdicts on two sides, and a comparison on the terminal."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from runwright.analysis.compare.paired import compare_rows
from runwright.analysis.compare.sides import (
    SEEDS,
    Difference,
    Side,
    less_is_better,
    metric_names,
    mixed_settings,
    split_rank,
)
from runwright.metric.significance import welch
from runwright.report.terminal import (
    mean_text,
    number_text,
    print_table,
    result_console,
    shorten,
    table_of,
)

SEEDED = "Welch's test over runs"
MAX_VALUE = 40  # characters of a setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Tested differences between two sides."""

    letters: tuple[str, str]
    differences: tuple[Difference, ...]  # the one of the metric that selected the checkpoints first
    notes: tuple[str, ...]  # why something could not be tested, and the limits of the rest

    @property
    def main(self) -> Difference | None:
        """The difference that decides."""
        return self.differences[0] if self.differences else None

    @property
    def words(self) -> str:
        """The answer in a sentence."""
        (first, second), main = self.letters, self.main
        if main is None:
            return f"Whether {second} is better than {first} cannot be tested."
        interval = main.interval
        amount, low, high = map(number_text, (abs(interval.value), interval.low, interval.high))
        p = "" if main.p is None else f", p = {main.p:.2g} ({main.p_method})"
        about = f"interval of the difference [{low}, {high}] ({main.method}, n = {main.n}{p})."
        way = "higher" if interval.value > 0 else "lower"
        if main.better is None:
            change = f"of {second} is {amount} {way}" if interval.value else "of both is equal"
            return f"No difference can be told between {first} and {second}: {main.metric} {change}, {about}"
        word = "better" if main.better == 1 else "worse"
        return f"{second} is {word} than {first}: {main.metric} is {amount} {way}, {about}"


def judge(first: Side, second: Side, *, confidence: float) -> Verdict:
    """Test whatever can be tested: by rows where each side is one run, by runs where each has several."""
    notes: list[str] = []
    differences: list[Difference] = []
    sizes = len(first.rows), len(second.rows)
    if min(sizes) > 1:
        differences += _compare_seeds(first, second, confidence=confidence)
        notes += _notes_on_seeds(first, second)
    elif max(sizes) > 1:
        notes.append("one side is a single run: give several seeds for both, or one run for both")
    else:
        differences, notes = compare_rows(first, second, confidence=confidence)
        if differences:
            notes.append("the interval says what other rows would change, not what another seed would")
    for row in (*first.rows, *second.rows):
        if row.status != "FINISHED":
            notes.append(f"{row.short_id} has not finished ({row.status}): its metrics are its last ones")

    def rank(difference: Difference) -> tuple[bool, int, bool]:
        name = difference.metric.partition("/")[2]
        return name != first.best_metric, split_rank(difference.metric), name != "loss"

    differences.sort(key=rank)
    return Verdict(letters=(first.letter, second.letter), differences=tuple(differences), notes=tuple(notes))


def _compare_seeds(first: Side, second: Side, *, confidence: float) -> Iterator[Difference]:
    for name in metric_names([first, second]):
        values = [np.array(side.values(name)) for side in (first, second)]
        is_group = name.count("/") != 1
        if is_group or min(map(len, values)) < 2 or not all(np.isfinite(side).all() for side in values):
            continue
        interval, p = welch(*values, confidence=confidence)
        yield Difference(
            metric=name,
            first=float(values[0].mean()),
            second=float(values[1].mean()),
            interval=interval,
            less_is_better=less_is_better(name, first),
            method=f"{SEEDED}, {confidence:.0%}",
            n=f"{len(values[0])} and {len(values[1])} runs",
            p=p,
            p_method="Welch",
        )


def _notes_on_seeds(first: Side, second: Side) -> Iterator[str]:
    for side in (first, second):
        if mixed := mixed_settings(side):
            yield f"the runs of {side.letter} differ in more than seeds: {', '.join(mixed[:5])}"
        seeds = {tuple(str(row.settings.get(key)) for key in SEEDS[1:]) for row in side.rows}
        if len(seeds) < len(side.rows):
            yield f"some runs of {side.letter} have the same seeds: they count as several and may be one"
    yield "the interval says what other seeds would change, not what other test rows would"


def print_comparison(
    sides: Sequence[Side],
    settings: Mapping[str, Sequence[str]],
    verdicts: Sequence[Verdict],
    *,
    with_groups: bool,
) -> None:
    """Print sides, differing settings, metrics with their differences, and the verdicts."""
    console = result_console()
    for side in sides:
        console.print(Text.assemble((f"{side.letter}  ", "bold"), side.label), soft_wrap=True)
    if settings:
        rows = ([key, *(shorten(text, MAX_VALUE) for text in values)] for key, values in settings.items())
        headings = ["what differs", *(side.letter for side in sides)]
        print_table(table_of(headings, rows), console=console, above=1)
    else:
        console.print("no setting differs")
    print_table(_metrics_table(sides, verdicts, with_groups=with_groups), console=console, above=1, below=1)
    for verdict in verdicts:
        is_sure = verdict.main is not None and verdict.main.better is not None
        console.print(Text(verdict.words, style="bold" if is_sure else ""), soft_wrap=True)
    for note in dict.fromkeys(note for verdict in verdicts for note in verdict.notes):
        console.print(Text(f"  note: {note}", style="dim"), soft_wrap=True)


def _metrics_table(sides: Sequence[Side], verdicts: Sequence[Verdict], *, with_groups: bool) -> Table:
    letters, rows = [side.letter for side in sides], []
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
        rows.append([name, *map(mean_text, values), *cells])
    headings = ["metric", *letters, *(" - ".join(verdict.letters[::-1]) for verdict in verdicts)]
    return table_of(headings, rows, right=letters)


def _difference_cell(difference: Difference | None, second: Sequence[float], first: Sequence[float]) -> Text:
    """The difference with its interval, and its two values where the columns show others."""
    if difference is None:
        return Text("-")
    interval = difference.interval
    value, low, high = map(number_text, (interval.value, interval.low, interval.high))
    words = f"{value} [{low}, {high}]"
    pairs = (difference.first, first), (difference.second, second)
    if not all(math.isclose(x, statistics.fmean(shown), rel_tol=1e-6, abs_tol=1e-9) for x, shown in pairs):
        words += f" of {number_text(difference.first)} and {number_text(difference.second)}"
    return Text(words, style={None: "", 0: "red", 1: "green"}[difference.better])
