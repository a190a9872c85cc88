"""Which of two sides is better, by how much and how surely, as numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runwright.analysis.compare.difference import Difference, chosen_by, less_is_better
from runwright.analysis.compare.paired import by_rows
from runwright.analysis.compare.pairs import SPLITS
from runwright.analysis.compare.sides import Side, mixed_settings
from runwright.analysis.compare.statistics import permutation_p, welch
from runwright.analysis.runs.table import figure as shown_figure

SEEDED = "Welch's test over runs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What can be said of two sides."""

    letters: tuple[str, str]
    differences: tuple[Difference, ...]  # the one that the runs were chosen by first
    notes: tuple[str, ...]  # why something could not be tested, and what the rest does not say

    @property
    def main(self) -> Difference | None:
        """The figure that decides."""
        return self.differences[0] if self.differences else None

    @property
    def words(self) -> str:
        """The answer in a sentence."""
        first, second = self.letters
        main = self.main
        if main is None:
            return f"Whether {second} is better than {first} cannot be tested."
        amount = shown_figure(abs(main.interval.value))
        low, high = (shown_figure(bound) for bound in (main.interval.low, main.interval.high))
        about = f"{main.method}, n = {main.n}"
        if main.p is not None:
            about += f", p = {main.p:.2g} ({main.p_method})"
        way = "higher" if main.interval.value > 0 else "lower"
        if main.better is None:
            found = f"of {second} is {amount} {way}" if main.interval.value else "of both is equal"
            return (
                f"No difference can be told between {first} and {second}: {main.figure} {found}, interval of "
                f"the difference [{low}, {high}] ({about})."
            )
        what = "better" if main.better == 1 else "worse"
        return (
            f"{second} is {what} than {first}: {main.figure} is {amount} {way}, interval of the difference "
            f"[{low}, {high}] ({about})."
        )


def judge(first: Side, second: Side, *, confidence: float) -> Verdict:
    """Test whatever can be tested: by rows where each side is one run, by runs where each has several."""
    notes: list[str] = []
    sizes = len(first.rows), len(second.rows)
    if min(sizes) > 1:
        differences = list(_by_seeds(first, second, confidence=confidence))
        notes += _notes_on_seeds(first, second)
    elif max(sizes) > 1:
        differences = []
        notes.append("one side is a single run: give several seeds for both, or one run for both")
    else:
        differences, why = by_rows(first, second, confidence=confidence)
        notes += why
        if differences:
            notes.append("the interval says what other rows would change, not what another seed would")
    for row in (*first.rows, *second.rows):
        if row.status != "FINISHED":
            notes.append(f"{row.short_id} has not finished ({row.status}): its figures are its last ones")
    chosen = chosen_by(first)
    differences.sort(key=lambda each: _rank(each.figure, chosen))
    return Verdict(letters=(first.letter, second.letter), differences=tuple(differences), notes=tuple(notes))


def _rank(figure: str, chosen: str) -> tuple[bool, int, bool]:
    """The figure that models were chosen by, on the first of the splits; then the loss."""
    split, _, name = figure.partition("/")
    place = SPLITS.index(split) if split in SPLITS else len(SPLITS)
    return name != chosen, place, name != "loss"


# --- several seeds ------------------------------------------------------------------------------------


def _by_seeds(first: Side, second: Side, *, confidence: float) -> Iterator[Difference]:
    names = dict.fromkeys(name for row in (*first.rows, *second.rows) for name in row.metrics)
    for name in names:
        if name.count("/") != 1 or not name.startswith(SPLITS):
            continue
        values = [np.array(side.values(name)) for side in (first, second)]
        if min(map(len, values)) < 2 or not all(np.isfinite(side).all() for side in values):
            continue
        interval, p = welch(*values, confidence=confidence)
        dealt = permutation_p(*values)
        yield Difference(
            figure=name,
            first=float(values[0].mean()),
            second=float(values[1].mean()),
            interval=interval,
            less_is_better=less_is_better(name, first),
            method=f"{SEEDED}, {confidence:.0%}",
            n=f"{len(values[0])} and {len(values[1])} runs",
            p=p,
            p_method=f"permutation {dealt:.2g}",
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
