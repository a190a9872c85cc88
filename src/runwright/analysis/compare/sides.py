"""Sides of a comparison, each one run or several seeds, and the difference of a metric between two sides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runwright.analysis.runs import RunRow, as_text, read_row
from runwright.config.options import TARGET
from runwright.config.rules.checks import mode_of_target
from runwright.errors import ConfigError, Mistake, did_you_mean
from runwright.runs.folder import whole_runs
from runwright.runs.page import find, read_jobs
from runwright.store import local_path
from runwright.types import Interval

BY_NAME = "name:"
SPLITS = ("test", "validation")  # whose rows are compared, in this order
# They change no metric.
IGNORED_SETTINGS = ("name", "output_dir", "resume", "tracker.", "launch.", "card.", "hub.", "log.")
SEEDS = ("seed", "seeds.data", "seeds.init", "seeds.dropout")
# Words in the names of metrics of others, and of the loss, of which less is better.
LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "perplexity", "ter")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One run, or several that differ in their seeds."""

    rows: tuple[RunRow, ...]

    @property
    def folder(self) -> Path:
        """The folder of the first run."""
        return self.rows[0].folder

    @property
    def label(self) -> str:
        """Names and ids of the runs for people."""
        names = ", ".join(dict.fromkeys(row.name for row in self.rows))
        more = f" and {len(self.rows) - 4} more" if len(self.rows) > 4 else ""
        return f"{names} ({' '.join(row.short_id for row in self.rows[:4])}{more})"

    @property
    def best_metric(self) -> str:
        """The metric that selected the best checkpoint, without its split."""
        return str(self.rows[0].settings.get("trainer.best_metric", "loss"))

    def values(self, metric: str) -> list[float]:
        """The metric of each run that has it."""
        return [row.metrics[metric] for row in self.rows if metric in row.metrics]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One metric of two sides, second minus first."""

    metric: str  # e.g. test/pearson
    first: float
    second: float
    interval: Interval  # of the difference
    less_is_better: bool
    method: str
    n: str  # rows, or runs on either side, in words

    @property
    def better(self) -> int | None:
        """0 or 1 for the side that is better; None where the interval does not tell."""
        low, high = self.interval.low, self.interval.high
        if math.isnan(low) or low <= 0 <= high:
            return None
        return int((low > 0) != self.less_is_better)


def find_sides(references: Sequence[str], *, output_dir: str | Path) -> list[Side]:
    """One side for each reference: a run, several with commas between them, a sweep, or `name:NAME`."""
    sides = []
    for reference in references:
        folders = _find_folders(reference, output_dir)
        rows = [row for folder in folders if (row := read_row(folder))]
        if len(rows) < len(folders):
            raise ConfigError(f"{reference}: given a run whose run.json cannot be read, expected whole ones")
        sides.append(Side(rows=tuple(rows)))
    return sides


def _find_folders(reference: str, output_dir: str | Path) -> list[Path]:
    if reference.startswith(BY_NAME):
        name = reference.removeprefix(BY_NAME)
        finished = [run for run, record in whole_runs(output_dir).items() if record["status"] == "FINISHED"]
        if not (folders := [run for run in finished if run.parent.name == name]):
            near = did_you_mean(name, {run.parent.name for run in finished})
            expected = "the name of an experiment that finished"
            raise ConfigError(str(Mistake(reference, "no run", expected, near)))
        return folders
    names = [reference] if local_path(reference).is_dir() else filter(None, reference.split(","))
    folders: list[Path] = []
    for name in names:
        folder, is_sweep = find(name, output_dir=str(output_dir))
        jobs = read_jobs(folder) if is_sweep else ()
        folders += [job.folder for job in jobs if job.folder and job.metrics] if is_sweep else [folder]
    if len(set(folders)) < len(folders):
        raise ConfigError(f"{reference}: given a run twice, expected distinct ones")
    if not folders:
        raise ConfigError(f"{reference!r}: given no run that has finished, expected one")
    return folders


def differing_settings(sides: Sequence[Side]) -> dict[str, list[str]]:
    """Settings that are not the same everywhere, with their values on each side."""
    settings = [[row.settings for row in side.rows] for side in sides]
    differing = {}
    for key in dict.fromkeys(key for runs in settings for run in runs for key in run):
        if key.startswith(IGNORED_SETTINGS) and key != "launch.num_processes":
            continue
        values = [[as_text(run[key]) if key in run else "not there" for run in runs] for runs in settings]
        if len({frozenset(runs) for runs in values}) > 1:
            differing[key] = [", ".join(dict.fromkeys(runs)) for runs in values]
    return differing


def mixed_settings(side: Side) -> list[str]:
    """Settings other than seeds in which the runs of one side differ: then they are no repetitions."""
    differing = differing_settings([Side(rows=(row,)) for row in side.rows])
    return [key for key in differing if key not in (*SEEDS, "launch.num_processes")]


def less_is_better(metric: str, side: Side) -> bool:
    """Return True if less of a metric such as test/loss is better."""
    name, settings = metric.split("/")[1], side.rows[0].settings
    if name == side.best_metric:
        return settings.get("trainer.best_mode") == "min"
    if mode := mode_of_target(str(settings.get(f"metric.{name}.{TARGET}"))):
        return mode == "min"
    return any(word in LESS_IS_BETTER for word in name.split("_"))


def split_rank(metric: str) -> int:
    """Position of the metric's split among SPLITS; other validation and test splits come last."""
    split = metric.partition("/")[0]
    return (*SPLITS, split).index(split)


def metric_names(sides: Sequence[Side]) -> list[str]:
    """Metrics of evaluated splits that any run has, those of whole splits before those of groups."""
    names = dict.fromkeys(name for side in sides for row in side.rows for name in row.metrics)
    evaluated = [name for name in names if "/" in name and name.startswith(SPLITS)]
    return sorted(evaluated, key=lambda name: (name.count("/"), split_rank(name)))
