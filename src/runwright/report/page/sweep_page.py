"""The page of a sweep: its jobs, what each parameter did to the metric, and the curves of all."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from runwright.report.page.charts import Curve, charts_of_runs
from runwright.report.page.document import Card, Cell, Chart, Page, Section, Table, Text, render
from runwright.report.page.records import as_number
from runwright.report.terminal import duration, number_text

MAX_DRAWN = 24  # jobs in one chart: the best ones
MAX_METRICS = 5
MAX_LINES = 100  # of parallel coordinates: the best ones
MIN_IMPORTANCE = 8  # finished jobs
LOG_FROM = 10  # a parameter whose largest value is that many times its smallest one


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job of a sweep and what came of it."""

    number: int
    overrides: Sequence[str]
    status: str  # finished, failed or refused
    exit_code: int
    reason: str
    seconds: float
    folder: Path | None
    metrics: Mapping[str, float]  # the one that jobs are ranked by first; empty where it did not finish
    metric: str  # that one, as `split/name`
    mode: str  # max where a larger one is better

    @property
    def values(self) -> dict[str, str]:
        """The overrides by key."""
        pairs = (text.lstrip("+~").partition("=") for text in self.overrides)
        return {key: value for key, _, value in pairs}

    @property
    def rank(self) -> float:
        """A number that is smaller for a better job."""
        value = self.metrics.get(self.metric, math.nan)
        return math.inf if math.isnan(value) else -value if self.mode == "max" else value


def sweep_page(
    folder: Path,
    jobs: Sequence[Job],
    *,
    curves: Mapping[int, Mapping[str, Curve]],
    report_name: str,
    seeds: tuple[Sequence[Sequence[Mapping[str, str]]], Sequence[str]] = ((), ()),
    objectives: Mapping[str, str] | None = None,
) -> str:
    """The whole file; the jobs come best first, `curves` are those of each job by its number.

    `seeds`: rows on settings with several seeds, and sentences on them; `objectives`: the direction of each.
    """
    metric, mode = jobs[0].metric, jobs[0].mode
    keys = dict.fromkeys(key for job in jobs for key in job.values)
    varied = [key for key in keys if len({job.values.get(key) for job in jobs}) > 1]
    drawn_keys = [key for key in varied if key != "seed"]
    parameters = [_parameter_chart(jobs, key, metric) for key in drawn_keys]
    search = [
        _history_chart(jobs, metric, mode),
        _importance_chart(jobs, drawn_keys, metric),
        _parallel_chart(jobs, drawn_keys, metric),
        _pareto_chart(jobs, objectives or {}),
    ]
    tables = [Table(title="Over seeds", columns=[*r[0]], rows=[[*x.values()] for x in r]) for r in seeds[0]]
    drawn = [(_name(job, varied), curves[job.number]) for job in jobs if curves.get(job.number)][:MAX_DRAWN]
    about = f"the {len(drawn)} best of {len(jobs)} jobs" if len(drawn) < len(jobs) else f"{len(drawn)} jobs"
    sections = [
        Section("jobs", "Jobs", [_table(folder, jobs, varied, metric=metric, report_name=report_name)]),
        Section("seeds", "Seeds", [*tables, Text(items=seeds[1]) if seeds[1] else None]),
        Section("search", "Search", [search]),
        Section("parameters", "Parameters and the metric", [parameters]),
        Section("curves", "Curves", [list(charts_of_runs(drawn, about))]),
    ]
    return render(
        Page(
            title=f"{folder.name} - Runwright",
            heading=f"Sweep {folder.name}",
            lines=[f"ranked by {metric}, {'the larger' if mode == 'max' else 'the smaller'} the better"],
            cards=list(_cards(jobs, varied, metric=metric)),
            sections=sections,
        )
    )


def _name(job: Job, varied: Sequence[str]) -> str:
    words = (f"{key.rpartition('.')[2]}={job.values[key]}" for key in varied if key in job.values)
    return f"{job.number}: {', '.join(words)}".removesuffix(": ")


def _cards(jobs: Sequence[Job], varied: Sequence[str], *, metric: str) -> Iterator[Card]:
    bad = sum(job.status not in ("finished", "pruned") for job in jobs)
    ranked = [job for job in jobs if metric in job.metrics]
    values = [job.metrics[metric] for job in ranked]
    if ranked:
        yield Card(f"best {metric}", number_text(values[0]), f"job {_name(ranked[0], varied)}")
    yield Card("jobs", str(len(jobs)), f"{bad} failed" if bad else "all finished")
    if len(values) > 1:
        spread = f"{number_text(min(values))} to {number_text(max(values))}"
        yield Card(f"median {metric}", number_text(float(np.median(values))), spread)
    yield Card("time of all jobs", duration(sum(job.seconds for job in jobs)))


def _table(
    folder: Path, jobs: Sequence[Job], varied: Sequence[str], *, metric: str, report_name: str
) -> Table:
    names = dict.fromkeys([metric, *(name for job in jobs for name in job.metrics if name.count("/") == 1)])
    shown = list(names)[:MAX_METRICS]
    columns = ["job", *varied, "status", *shown, "seconds", "run"]

    def run_cell(run: Path) -> Cell:
        page = run / report_name
        # Relative, so that the whole of outputs/ can be moved.
        link = quote(os.path.relpath(page, folder)) if page.is_file() else None
        return Cell(run.name, kind="run", link=link)

    rows = [
        [
            str(job.number),
            *(Cell(job.values.get(key, ""), _number(job.values.get(key))) for key in varied),
            Cell(job.status, kind=job.status, about=job.reason),
            *(job.metrics.get(name) for name in shown),
            Cell(f"{job.seconds:.1f}", job.seconds, "number"),
            Cell("-") if job.folder is None else run_cell(job.folder),
        ]
        for job in jobs
    ]
    return Table(title="The best one first", columns=columns, rows=rows, first_is_best=True)


def _history_chart(jobs: Sequence[Job], metric: str, mode: str) -> Chart | None:
    """The metric of each job in the order of their numbers, and the best one until then."""
    ended = sorted((job for job in jobs if math.isfinite(job.rank)), key=lambda job: job.number)
    if len(ended) < 2:
        return None
    numbers, values = [job.number for job in ended], [job.metrics[metric] for job in ended]
    best = (np.maximum if mode == "max" else np.minimum).accumulate(values)
    series = [
        {"name": "best so far", "x": numbers, "y": best.tolist(), "steps": True},
        {"name": "jobs", "x": numbers, "y": values, "dots": True},
    ]
    first = numbers[int(np.flatnonzero(best == best[-1])[0])]
    about = f"{len(ended)} of {len(jobs)} jobs finished, the best is job {first}"
    return Chart(kind="curves", title=f"{metric} by job", about=about, data={"series": series, "x": "job"})


def _importance_chart(jobs: Sequence[Job], keys: Sequence[str], metric: str) -> Chart | None:
    """Shares of the metric's variance that parameters explain (fANOVA, Hutter et al. 2014)."""
    ended = [job for job in jobs if math.isfinite(job.rank) and all(key in job.values for key in keys)]
    if len(keys) < 2 or len(ended) < MIN_IMPORTANCE or len({job.rank for job in ended}) < 2:
        return None
    import optuna

    columns = {key: _column([job.values[key] for job in ended]) for key in keys}
    ranges: dict[str, Any] = {
        key: optuna.distributions.FloatDistribution(min(values), max(values), log=_is_log(values))
        if isinstance(values[0], float)
        else optuna.distributions.CategoricalDistribution(sorted(set(values)))
        for key, values in columns.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for index, job in enumerate(ended):
        params = {key: values[index] for key, values in columns.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=ranges, value=job.metrics[metric]))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    values = [100 * share for share in shares.values()]
    data = {"names": [*shares], "series": [{"name": "share", "values": values}], "x": "% of the variance"}
    about = f"fANOVA over {len(ended)} finished jobs: {next(iter(shares))} matters most"
    return Chart(kind="bars", title="Importance of parameters", about=about, data=data)


def _parallel_chart(jobs: Sequence[Job], keys: Sequence[str], metric: str) -> Chart | None:
    """A line for each finished job through its parameters and its metric, the best ones strongest."""
    ended = [job for job in jobs if math.isfinite(job.rank)][:MAX_LINES]
    if len(keys) < 2 or len(ended) < 2:
        return None
    axes = []
    for key in keys:
        values = _column([job.values.get(key, "-") for job in ended])
        names = None if isinstance(values[0], float) else sorted(set(values))
        places = values if names is None else [names.index(value) for value in values]
        axes.append({"name": key, "values": places, "names": names, "log": names is None and _is_log(values)})
    values = [job.metrics[metric] for job in ended]
    axes.append({"name": metric, "values": values, "names": None, "log": False})
    data = {"axes": axes, "texts": [_name(job, keys) for job in ended]}
    about = f"the {len(ended)} best jobs, the best one strongest"
    return Chart(kind="parallel", title="All together", about=about, data=data, whole=True)


def _pareto_chart(jobs: Sequence[Job], objectives: Mapping[str, str]) -> Chart | None:
    """Two objectives of each job; no other job is better in one and as good in the other than the front."""
    if len(objectives) != 2:
        return None
    (x, x_way), (y, y_way) = objectives.items()
    if len(ended := [job for job in jobs if {x, y} <= job.metrics.keys()]) < 2:
        return None
    signs = [-1 if way == "maximize" else 1 for way in (x_way, y_way)]
    points = np.array([(job.metrics[x], job.metrics[y]) for job in ended]).reshape(-1, 2) * signs
    better = (points[:, None] <= points).all(axis=2) & (points[:, None] < points).any(axis=2)
    beaten = better.any(axis=0)
    data = {
        "px": [job.metrics[x] for job in ended],
        "py": [job.metrics[y] for job in ended],
        "texts": [_name(job, list(job.values)) for job in ended],
        "groups": ["Pareto front", "others"],
        "group": beaten.astype(int).tolist(),
        "x": x,
        "y": y,
    }
    about = f"{x} {x_way}d, {y} {y_way}d: {int((~beaten).sum())} of {len(ended)} jobs are on the front"
    return Chart(kind="scatter", title="Pareto front", about=about, data=data)


def _column(texts: Sequence[str]) -> list[Any]:
    """Numbers where all texts are numbers, else the texts."""
    numbers = [number for text in texts if (number := _number(text)) is not None]
    return numbers if len(numbers) == len(texts) else list(texts)


def _is_log(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= LOG_FROM


def _parameter_chart(jobs: Sequence[Job], key: str, metric: str) -> Chart | None:
    """The metric over a parameter: over numbers on a line, over words side by side."""
    drawn = [job for job in jobs if key in job.values and math.isfinite(job.metrics.get(metric, math.nan))]
    values = [job.values[key] for job in drawn]
    if len(set(values)) < 2:
        return None
    numbers, names = _column(values), sorted(set(values))
    if isinstance(numbers[0], float):
        across = {"px": numbers, "logx": _is_log(numbers)}
    else:
        across = {"px": [names.index(value) for value in values], "names": names}
    data = {
        **across,
        "py": [job.metrics[metric] for job in drawn],
        "texts": [_name(job, list(job.values)) for job in drawn],
        "x": key,
        "y": metric,
    }
    about = f"{len(drawn)} jobs, best at {values[0]}"  # the jobs come best first
    return Chart(kind="scatter", title=key, about=about, data=data)


def _number(text: str | None) -> float | None:
    value = as_number(text)
    return value if value is not None and math.isfinite(value) else None
