"""Which of two sides is better, by how much and how surely, as numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runwright.judging.pairs import SPLITS, Pairs, as_predictions, label_names, read_pairs
from runwright.judging.sides import Side, mixed_settings
from runwright.judging.statistics import (
    bootstrap_figures,
    mcnemar_p,
    paired_bootstrap,
    permutation_p,
    sign_flip_p,
    welch,
)
from runwright.listing.table import figure as shown_figure
from runwright.types import Interval

# Figures of which less is better; of any other one more is, unless the configuration says otherwise.
LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "perplexity")
PAIRED = "paired bootstrap over rows"
SEEDED = "Welch's test over runs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One figure of two sides, second minus first."""

    figure: str  # e.g. test/pearson
    first: float
    second: float
    interval: Interval  # of the difference
    less_is_better: bool
    method: str
    n: str  # rows, or runs on either side, in words
    p: float | None = None
    p_method: str = ""

    @property
    def better(self) -> int | None:
        """0 or 1 for the side that is better; None where the interval does not tell."""
        low, high = self.interval.low, self.interval.high
        if math.isnan(low) or low <= 0 <= high:
            return None
        return int((low > 0) != self.less_is_better)

    def as_json(self) -> dict[str, Any]:
        """Everything, for other programs."""
        return asdict(self) | {"better": self.better}


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
            return (
                f"No difference can be told between {first} and {second}: {main.figure} of {second} is "
                f"{amount} {way}, interval of the difference [{low}, {high}] ({about})."
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
        differences, why = _by_rows(first, second, confidence=confidence)
        notes += why
        if differences:
            notes.append("the interval says what other rows would change, not what another seed would")
    for row in (*first.rows, *second.rows):
        if row.status != "FINISHED":
            notes.append(f"{row.short_id} has not finished ({row.status}): its figures are its last ones")
    chosen = _chosen_by(first)
    differences.sort(key=lambda each: _rank(each.figure, chosen))
    return Verdict(letters=(first.letter, second.letter), differences=tuple(differences), notes=tuple(notes))


def _rank(figure: str, chosen: str) -> tuple[bool, int, bool]:
    """The figure that models were chosen by, on the first of the splits; then the loss."""
    split, _, name = figure.partition("/")
    place = SPLITS.index(split) if split in SPLITS else len(SPLITS)
    return name != chosen, place, name != "loss"


def _chosen_by(side: Side) -> str:
    return str(side.rows[0].settings.get("trainer.best_metric", "loss"))


def _less_is_better(figure: str, side: Side) -> bool:
    name = figure.partition("/")[2].partition("/")[0]
    if name == _chosen_by(side):
        return side.rows[0].settings.get("trainer.best_mode") == "min"
    return any(word in name.replace("_", " ").split() for word in LESS_IS_BETTER)


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
            less_is_better=_less_is_better(name, first),
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


# --- the same rows ------------------------------------------------------------------------------------


def _by_rows(first: Side, second: Side, *, confidence: float) -> tuple[list[Difference], list[str]]:
    folders = first.rows[0].folder, second.rows[0].folder
    assert folders[0] is not None
    assert folders[1] is not None
    found: list[Difference] = []
    notes: list[str] = []
    for split in SPLITS:
        pairs = read_pairs(folders[0], folders[1], split)
        if isinstance(pairs, str):
            notes.append(pairs)
            continue
        if pairs.num_left_out:
            notes.append(f"{pairs.num_left_out:,} rows of the {split} split are in one only and left out")
        found += _of_rows(pairs, confidence=confidence)
        found += _of_figures(pairs, first, second, confidence=confidence)
    return list({each.figure: each for each in found}.values()), notes


def _of_rows(pairs: Pairs, *, confidence: float) -> Iterator[Difference]:
    """Means over rows: the loss, and the share that is right."""
    n = f"{len(pairs):,} rows"
    losses, right = pairs.losses(), pairs.right()
    if losses is not None and all(np.isfinite(each).all() for each in losses):
        differences = losses[1] - losses[0]
        yield Difference(
            figure=f"{pairs.split}/loss",
            first=float(losses[0].mean()),
            second=float(losses[1].mean()),
            interval=paired_bootstrap(differences, confidence=confidence),
            less_is_better=True,
            method=f"{PAIRED}, {confidence:.0%}",
            n=n,
            p=sign_flip_p(differences),
            p_method="sign flips",
        )
    if right is not None:
        yield Difference(
            figure=f"{pairs.split}/accuracy",
            first=float(right[0].mean()),
            second=float(right[1].mean()),
            interval=paired_bootstrap(right[1].astype(float) - right[0], confidence=confidence),
            less_is_better=False,
            method=f"{PAIRED}, {confidence:.0%}",
            n=n,
            p=mcnemar_p(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())),
            p_method="McNemar, exact",
        )


def _of_figures(pairs: Pairs, first: Side, second: Side, *, confidence: float) -> Iterator[Difference]:
    """The runs' own metrics, computed anew for each resample of rows."""
    from runwright.metric.bootstrap import Resampled
    from runwright.targets import instantiate

    rows = first.rows[0], second.rows[0]
    labels = label_names(rows[0].folder), label_names(rows[1].folder)  # type: ignore[arg-type]
    predictions = [as_predictions(each, labels[0]) for each in (pairs.first, pairs.second)]
    if labels[0] != labels[1] or predictions[0] is None or predictions[1] is None:
        return
    for name, node in _metric_nodes(first).items():
        if name == "accuracy" or node != _metric_nodes(second).get(name):
            continue
        metric = instantiate(node, group="metric", key=f"metric.{name}")
        if not isinstance(metric, Resampled):
            continue
        values = [_compute(node, name, each) for each in predictions]
        recorded = [row.metrics.get(f"{pairs.split}/{name}", math.nan) for row in rows]
        # A figure that needs more than is in the files, such as the scores of all classes, gives itself away.
        complete = pairs.num_left_out == 0
        if complete and not np.allclose(values, recorded, rtol=1e-6, atol=1e-9):
            continue
        if not np.isfinite(values).all():
            continue

        def difference(counts: np.ndarray, metric: Any = metric) -> np.ndarray:
            one, other = (metric.compute_resampled(each, counts) for each in predictions)
            return other - one

        yield Difference(
            figure=f"{pairs.split}/{name}",
            first=values[0],
            second=values[1],
            interval=bootstrap_figures(
                difference, values[1] - values[0], num_rows=len(pairs), confidence=confidence
            ),
            less_is_better=_less_is_better(f"{pairs.split}/{name}", first),
            method=f"{PAIRED}, {confidence:.0%}",
            n=f"{len(pairs):,} rows",
        )


def _compute(node: Mapping[str, Any], name: str, predictions: Any) -> float:
    from runwright.errors import RunwrightError
    from runwright.targets import instantiate

    metric = instantiate(node, group="metric", key=f"metric.{name}")
    try:
        metric.update(predictions)
        value = metric.compute()
    except (RunwrightError, ValueError, TypeError, IndexError):
        return math.nan
    return float(value) if np.ndim(value) == 0 else math.nan


def _metric_nodes(side: Side) -> dict[str, Any]:
    from runwright.run_folder import CONFIG_FILE, read_config

    folder = side.rows[0].folder
    assert folder is not None
    return dict(read_config(folder / CONFIG_FILE).get("metric") or {})


def all_figures(sides: Sequence[Side]) -> list[str]:
    """The figures of evaluated splits that any run has, the whole split before its groups."""
    names = dict.fromkeys(name for side in sides for row in side.rows for name in row.metrics)
    kept = [name for name in names if name.startswith(tuple(f"{split}/" for split in SPLITS))]
    return sorted(kept, key=lambda name: (name.count("/"), SPLITS.index(name.partition("/")[0])))
