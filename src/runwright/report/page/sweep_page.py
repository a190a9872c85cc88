"""The page of a sweep: its jobs, what each parameter did to the metric, and the curves of all."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from runwright.report.page.charts import Curve, charts_of_runs
from runwright.report.page.document import Cell, Chart, Section, Table, Text, render
from runwright.report.page.records import as_number
from runwright.report.summary import REPORT_NAME

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
        return {key: value for key, _, value in (text.lstrip("+~").partition("=") for text in self.overrides)}

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
    seeds: tuple[Sequence[Sequence[Mapping[str, str]]], Sequence[str]] = ((), ()),
    objectives: Mapping[str, str] | None = None,
) -> str:
    """The whole file; the jobs come best first, `curves` are those of each job by its number.

    `seeds`: rows on settings with several seeds, and sentences on them; `objectives`: the direction of each.
    """
    metric, size = jobs[0].metric, "larger" if jobs[0].mode == "max" else "smaller"
    keys = dict.fromkeys(key for job in jobs for key in job.values)
    varied = [key for key in keys if len({job.values.get(key) for job in jobs}) > 1]
    drawn_keys = [key for key in varied if key != "seed"]
    ended = [job for job in jobs if math.isfinite(job.rank)]
    parameters = [_parameter_chart(ended, key, varied) for key in drawn_keys]
    search = [
        _history_chart(ended, len(jobs)),
        _importance_chart(ended, drawn_keys),
        _parallel_chart(ended[:MAX_LINES], drawn_keys),
        _pareto_chart(jobs, objectives or {}, varied),
    ]
    tables = [Table(title="Over seeds", columns=[*r[0]], rows=[[*x.values()] for x in r]) for r in seeds[0]]
    drawn = [(_name(job, varied), curves[job.number]) for job in jobs if curves.get(job.number)][:MAX_DRAWN]
    about = f"the {len(drawn)} best of {len(jobs)} jobs" if len(drawn) < len(jobs) else f"{len(drawn)} jobs"
    sections = [
        Section("jobs", "Jobs", [_table(folder, jobs, varied, metric=metric)]),
        Section("seeds", "Seeds", [*tables, Text(items=seeds[1]) if seeds[1] else None]),
        Section("search", "Search", [search]),
        Section("parameters", "Parameters and the metric", [parameters]),
        Section("curves", "Curves", [list(charts_of_runs(drawn, about))]),
    ]
    lines = [f"{len(jobs)} jobs, ranked by {metric}, the {size} the better"]
    return render(sections, title=f"{folder.name} - Runwright", heading=f"Sweep {folder.name}", lines=lines)


def _name(job: Job, varied: Sequence[str]) -> str:
    words = (f"{key.rpartition('.')[2]}={job.values[key]}" for key in varied if key in job.values)
    return f"{job.number}: {', '.join(words)}".removesuffix(": ")


def _table(folder: Path, jobs: Sequence[Job], varied: Sequence[str], *, metric: str) -> Table:
    names = dict.fromkeys([metric, *(name for job in jobs for name in job.metrics if name.count("/") == 1)])
    shown = list(names)[:MAX_METRICS]
    columns = ["job", *varied, "status", *shown, "seconds", "run"]

    def run_cell(run: Path) -> Cell:
        page = run / REPORT_NAME
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


def _history_chart(ended: Sequence[Job], num_jobs: int) -> Chart | None:
    """The metric of each job in the order of their numbers, and the best one until then."""
    if len(ended) < 2:
        return None
    metric, in_order = ended[0].metric, sorted(ended, key=lambda job: job.number)
    numbers, values = [job.number for job in in_order], [job.metrics[metric] for job in in_order]
    best = (np.maximum if ended[0].mode == "max" else np.minimum).accumulate(values)
    series = [
        {"name": "best so far", "x": numbers, "y": best.tolist(), "steps": True},
        {"name": "jobs", "x": numbers, "y": values, "dots": True},
    ]
    about = f"{len(ended)} of {num_jobs} jobs finished, the best is job {ended[0].number}"
    return Chart(kind="curves", title=f"{metric} by job", about=about, data={"series": series, "x": "job"})


def _importance_chart(ended: Sequence[Job], keys: Sequence[str]) -> Chart | None:
    """Shares of the metric's variance that parameters explain (fANOVA, Hutter et al. 2014)."""
    ended = [job for job in ended if all(key in job.values for key in keys)]
    if len(keys) < 2 or len(ended) < MIN_IMPORTANCE or len({job.rank for job in ended}) < 2:
        return None
    import optuna

    axes, ranges = {key: _axis([job.values[key] for job in ended]) for key in keys}, dict[str, Any]()
    for key, axis in axes.items():
        values, names = axis["values"], axis["names"]
        if names is None:
            ranges[key] = optuna.distributions.FloatDistribution(min(values), max(values), log=axis["log"])
        else:
            ranges[key] = optuna.distributions.CategoricalDistribution(range(len(names)))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for index, job in enumerate(ended):
        params, value = {key: axis["values"][index] for key, axis in axes.items()}, job.metrics[job.metric]
        study.add_trial(optuna.create_trial(params=params, distributions=ranges, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    series = [{"name": "share", "values": [100 * share for share in shares.values()]}]
    about = f"fANOVA over {len(ended)} finished jobs: {next(iter(shares))} matters most"
    data = {"names": [*shares], "series": series, "x": "% of the variance"}
    return Chart(kind="bars", title="Importance of parameters", about=about, data=data)


def _parallel_chart(ended: Sequence[Job], keys: Sequence[str]) -> Chart | None:
    """A line for each finished job through its parameters and its metric, the best ones strongest."""
    if len(keys) < 2 or len(ended) < 2:
        return None
    metric = ended[0].metric
    axes = [{"name": key, **_axis([job.values.get(key, "-") for job in ended])} for key in keys]
    axes.append({"name": metric, "values": [j.metrics[metric] for j in ended], "names": None, "log": False})
    data = {"axes": axes, "texts": [_name(job, keys) for job in ended]}
    about = f"the {len(ended)} best jobs, the best one strongest"
    return Chart(kind="parallel", title="All together", about=about, data=data, whole=True)


def _pareto_chart(jobs: Sequence[Job], objectives: Mapping[str, str], varied: Sequence[str]) -> Chart | None:
    """Two objectives of each job; no other job is better in one and as good in the other than the front."""
    ended = [job for job in jobs if objectives.keys() <= job.metrics.keys()]
    if len(objectives) != 2 or len(ended) < 2:
        return None
    signs = [-1 if way == "maximize" else 1 for way in objectives.values()]
    points = np.array([[job.metrics[name] for name in objectives] for job in ended]) * signs
    better = (points[:, None] <= points).all(axis=2) & (points[:, None] < points).any(axis=2)
    beaten, (x, y) = better.any(axis=0), objectives
    data = {
        "px": [job.metrics[x] for job in ended],
        "py": [job.metrics[y] for job in ended],
        "texts": [_name(job, varied) for job in ended],
        "groups": ["Pareto front", "others"],
        "group": beaten.astype(int).tolist(),
        "x": x,
        "y": y,
    }
    ways = ", ".join(f"{name} {way}d" for name, way in objectives.items())
    about = f"{ways}: {int((~beaten).sum())} of {len(ended)} jobs are on the front"
    return Chart(kind="scatter", title="Pareto front", about=about, data=data)


def _parameter_chart(ended: Sequence[Job], key: str, varied: Sequence[str]) -> Chart | None:
    """The metric over a parameter: over numbers on a line, over words side by side."""
    ended = [job for job in ended if key in job.values]
    values = [job.values[key] for job in ended]
    if len(set(values)) < 2:
        return None
    axis, metric = _axis(values), ended[0].metric
    data = {
        "px": axis["values"],
        "py": [job.metrics[metric] for job in ended],
        "texts": [_name(job, varied) for job in ended],
        "names": axis["names"],
        "logx": axis["log"],
        "x": key,
        "y": metric,
    }
    about = f"{len(ended)} jobs, best at {values[0]}"  # the jobs come best first
    return Chart(kind="scatter", title=key, about=about, data=data)


def _axis(texts: Sequence[str]) -> dict[str, Any]:
    """Texts as numbers where all are, and whether on a log scale; else as indices of their sorted names."""
    values = [number for text in texts if (number := _number(text)) is not None]
    if len(values) < len(texts):
        names = sorted(set(texts))
        return {"values": [names.index(text) for text in texts], "names": names, "log": False}
    return {"values": values, "names": None, "log": min(values) > 0 and max(values) / min(values) >= LOG_FROM}


def _number(text: str | None) -> float | None:
    value = as_number(text)
    return value if value is not None and math.isfinite(value) else None
