"""The end of a multirun: what its jobs left, and a table of them, the best first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from statistics import fmean
from typing import Any

from runwright.report.page.records import numbers_of, read_json
from runwright.report.page.sweep_page import Job
from runwright.runs.folder import CONFIG_FILE, read_config

OUTCOME_FILE = "outcome.json"
MAX_METRICS = 4


def read_jobs(sweep: Path, *, since: float = 0.0) -> list[Job]:
    """The jobs that have ended, best first; those that failed last."""
    files = [file for file in sweep.rglob(OUTCOME_FILE) if file.stat().st_mtime >= since - 1]
    jobs = [_read_job(sweep, json.loads(file.read_text(encoding="utf-8"))) for file in files]
    return sorted(jobs, key=lambda job: (job.exit_code != 0, job.rank, job.number))


def _read_job(sweep: Path, outcome: dict[str, Any]) -> Job:
    folder = Path(outcome["folder"]) if outcome["folder"] else None
    if folder and not (folder / CONFIG_FILE).is_file():  # the whole of outputs/ may have been moved since
        moved = sweep.parent.parent / folder.parent.name / folder.name
        folder = moved if moved.is_dir() else folder
    summary = read_json(folder / "summary.json") if folder else {}
    metrics = numbers_of(summary.get("metrics"))
    trainer = read_config(folder / CONFIG_FILE).get("trainer", {}) if folder and metrics else {}
    best_metric = str(trainer.get("best_metric", "loss"))
    splits = [name.partition("/")[0] for name in metrics if name.startswith("validation")]
    usual = "validation" if "validation" in splits or not splits else splits[0]
    return Job(
        number=outcome["job"],
        overrides=outcome["overrides"],
        status=outcome.get("status", "failed"),
        exit_code=outcome.get("exit_code", 1),
        reason=str(outcome.get("reason") or "").strip().partition("\n")[0][:200],
        # As `runwright runs` shows it: without the start of the process.
        seconds=numbers_of(summary.get("seconds")).get("all", float(outcome.get("seconds", 0.0))),
        folder=folder,
        metrics=dict(sorted(metrics.items(), key=lambda item: item[0].partition("/")[2] != best_metric)),
        metric=f"{trainer.get('best_split') or usual}/{best_metric}",
        mode=str(trainer.get("best_mode", "min")),
    )


def print_table(jobs: Sequence[Job], sweep: Path) -> None:
    """Print the jobs of a sweep, the best first, means over seeds, and what to do with the best one."""
    from rich.table import Column
    from rich.text import Text

    from runwright.report.summary import REPORT_NAME, shown_path
    from runwright.report.terminal import plain_table, result_console
    from runwright.report.terminal import print_table as print_whole

    console = result_console()
    console.print(f"{len(jobs)} jobs")
    for rows in _tables(jobs):
        table = plain_table(
            *(Column(name.replace("/", "/\n"), no_wrap=name != "overrides") for name in rows[0])
        )
        for row in rows:
            table.add_row(*map(Text, row.values()))
        print_whole(table, console=console, below=1)
    lines = {"sweep": shown_path(sweep)}
    if (sweep / REPORT_NAME).is_file():
        lines["report"] = shown_path(sweep / REPORT_NAME)
    if jobs and jobs[0].metrics and jobs[0].folder:
        best = shown_path(jobs[0].folder)
        lines |= {"best": f"job {jobs[0].number}, {best}", "next": f"runwright evaluate {quote(best)}"}
    for label, text in lines.items():
        console.print(Text.assemble((f" {label:<12}", "dim"), text), soft_wrap=True)


def _tables(jobs: Sequence[Job]) -> Iterator[list[dict[str, str]]]:
    """The rows of the jobs, then means over jobs that differ in their seeds alone where there are such."""
    from runwright.report.terminal import duration, mean_text

    names = list(dict.fromkeys(name for job in jobs for name in job.metrics))[:MAX_METRICS]
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    seeds: dict[str, list[Job]] = {}
    rows = []
    for job in jobs:
        different = [text for text in job.overrides if text not in common]
        if job.metrics:
            setting = " ".join(text for text in different if not text.startswith(("seed=", "seeds.")))
            seeds.setdefault(setting or "-", []).append(job)
        row = {"job": str(job.number), "overrides": " ".join(different) or "-"}
        row["status"] = job.status + (f" ({job.exit_code})" if job.exit_code else "")
        row |= {name: mean_text([job.metrics[name]] if name in job.metrics else []) for name in names}
        rows.append(row | {"time": duration(job.seconds), "run": job.folder.name if job.folder else "-"})
    if rows:
        yield rows
    if any(len(same) > 1 for same in seeds.values()):
        settings = sorted(seeds.items(), key=lambda pair: fmean(job.rank for job in pair[1]))
        yield [
            {"mean ± standard deviation": setting, "jobs": str(len(same))}
            | {name: mean_text([job.metrics[name] for job in same if name in job.metrics]) for name in names}
            for setting, same in settings
        ]
