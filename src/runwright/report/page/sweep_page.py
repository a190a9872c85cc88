"""The page of a sweep: its jobs, what each parameter did to the metric, and the curves of all."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from runwright.report.page.charts import Curve, charts_of_runs
from runwright.report.page.document import Card, Cell, Chart, Page, Section, Table, render
from runwright.report.page.records import as_number
from runwright.report.terminal import duration, number_text

MAX_DRAWN = 24  # jobs in one chart: the best ones
MAX_METRICS = 5
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
    folder: Path, jobs: Sequence[Job], *, curves: Mapping[int, Mapping[str, Curve]], report_name: str
) -> str:
    """The whole file; the jobs come best first, `curves` are those of each job by its number."""
    metric, mode = jobs[0].metric, jobs[0].mode
    keys = dict.fromkeys(key for job in jobs for key in job.values)
    varied = [key for key in keys if len({job.values.get(key) for job in jobs}) > 1]
    parameters = [_parameter_chart(jobs, key, metric) for key in varied]
    drawn = [(_name(job, varied), curves[job.number]) for job in jobs if curves.get(job.number)][:MAX_DRAWN]
    about = f"the {len(drawn)} best of {len(jobs)} jobs" if len(drawn) < len(jobs) else f"{len(drawn)} jobs"
    sections = [
        Section("jobs", "Jobs", [_table(folder, jobs, varied, metric=metric, report_name=report_name)]),
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
    bad = sum(job.status != "finished" for job in jobs)
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


def _parameter_chart(jobs: Sequence[Job], key: str, metric: str) -> Chart | None:
    """The metric over a parameter: over numbers on a line, over words side by side."""
    drawn = [job for job in jobs if key in job.values and math.isfinite(job.metrics.get(metric, math.nan))]
    values = [job.values[key] for job in drawn]
    if len(set(values)) < 2:
        return None
    numbers = [number for value in values if (number := _number(value)) is not None]
    names = sorted(set(values))
    if len(numbers) == len(values):
        across = {"px": numbers, "logx": min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM}
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
