"""Verdicts on two sides: which is better, by how much and how surely, as numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runwright.analysis.compare.paired import compare_rows
from runwright.analysis.compare.sides import (
    Difference,
    Side,
    less_is_better,
    metric_names,
    mixed_settings,
    split_rank,
)
from runwright.analysis.compare.statistics import permutation_p, welch
from runwright.report.terminal import number_text

SEEDED = "Welch's test over runs"


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
        first, second = self.letters
        main = self.main
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
            p_method=f"permutation {permutation_p(*values):.2g}",
        )


def _notes_on_seeds(first: Side, second: Side) -> Iterator[str]:
    for side in (first, second):
        mixed = mixed_settings(side)
        if mixed:
            yield f"the runs of {side.letter} differ in more than seeds: {', '.join(mixed[:5])}"
        seeds = [
            tuple(str(row.settings.get(f"seeds.{name}")) for name in ("data", "init", "dropout"))
            for row in side.rows
        ]
        if len(set(seeds)) < len(seeds):
            yield f"some runs of {side.letter} have the same seeds: they count as several and may be one"
    yield "the interval says what other seeds would change, not what other test rows would"
