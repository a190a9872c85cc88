"""Runs and sweeps as HTML pages in their folders, and the jobs of a sweep as a table on the terminal."""

import math
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from shlex import quote
from statistics import fmean
from typing import Any

import numpy as np

from runwright.errors import ConfigError, rounded
from runwright.metric.bootstrap import paired_t
from runwright.report import terminal
from runwright.report.page.records import RunRecord, numbers_of
from runwright.report.page.run_page import run_page
from runwright.report.page.sweep_page import Job, sweep_page
from runwright.report.summary import REPORT_NAME, shown_path
from runwright.report.terminal import duration, mean_text, number_text, print_facts, result_console, table_of
from runwright.runs.folder import CONFIG_FILE, RUN_FILE, read_config, resolve_run
from runwright.store import local_path, read_json, write_text
from runwright.sweep.options import STUDY_FILE
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import read_curves

OUTCOME_FILE = "outcome.json"
MAX_METRICS = 4
SWEEPS = "sweeps"
LATEST_SWEEP = "latest:sweeps"


def find(reference: str, *, output_dir: str = "outputs") -> tuple[Path, bool]:
    """The folder of a run or a sweep, and whether it is a sweep's."""
    path = local_path(reference)
    begun = (file for name in (STUDY_FILE, f"**/{OUTCOME_FILE}") for file in path.glob(name))
    if path.is_dir() and not (path / RUN_FILE).is_file() and next(begun, None):
        return path.resolve(), True
    sweeps = sorted(filter(Path.is_dir, (Path(output_dir).expanduser() / SWEEPS).glob("*/")), key=_begun)
    ids = [(sweep.name, sweep.name.rpartition("-")[2]) for sweep in sweeps]
    named = (reference == name or start.startswith(reference or "-") for name, start in ids)
    matches = [*compress(sweeps, named)]
    if reference == LATEST_SWEEP and not (matches := sweeps[-1:]):
        raise ConfigError(f"{reference}: given no sweep, expected one in {output_dir}/{SWEEPS}")
    if len(matches) == 1:
        return matches[0].resolve(), True
    return resolve_run(reference, output_dir=output_dir), False


def _begun(sweep: Path) -> tuple[float, str]:
    files = [*sweep.glob(STUDY_FILE), *sweep.glob("multirun.yaml")]  # written when it begins, or goes on
    return max((file.stat().st_mtime for file in files), default=sweep.stat().st_mtime), sweep.name


def write_report(folder: Path, *, is_sweep: bool) -> Path:
    """Write the page of a run or a sweep into its folder."""
    target = folder / REPORT_NAME
    if is_sweep:
        if not (jobs := read_jobs(folder)):
            raise ConfigError(
                f"{folder}: given a sweep none of whose jobs has ended, expected {OUTCOME_FILE} files"
            )
        journals = {job.number: job.folder / JOURNAL_FILE for job in jobs if job.folder}
        curves = {number: read_curves(journal) for number, journal in journals.items() if journal.is_file()}
        seeds = [*_tables(jobs)][1:], verdicts(jobs)
        objectives = read_json(folder / STUDY_FILE).get("objectives")
        page = sweep_page(folder, jobs, curves=curves, seeds=seeds, objectives=objectives)
    else:
        config, journal = read_config(folder / CONFIG_FILE), folder / JOURNAL_FILE
        curves = read_curves(journal) if journal.is_file() else {}
        page = run_page(RunRecord(folder, config=config, curves=curves))
    write_text(target, page)
    return target


# --- the jobs of a sweep ----------------------------------------------------------------------------------


def read_jobs(sweep: Path, *, since: float = 0.0) -> list[Job]:
    """The jobs that have ended, best first; those that failed last."""
    files = [file for file in sweep.rglob(OUTCOME_FILE) if file.stat().st_mtime >= since - 1]
    read = [_read_job(sweep, outcome) for file in files if (outcome := read_json(file))]
    # A trial whose driver died goes on in the same run under another number.
    last = {job.folder: job.number for job in sorted(read, key=lambda job: job.number)}
    jobs = [job for job in read if job.folder is None or job.number == last[job.folder]]
    return sorted(jobs, key=lambda job: (job.exit_code != 0, job.rank, job.number))


def _read_job(sweep: Path, outcome: dict[str, Any]) -> Job:
    folder = Path(outcome["folder"]) if outcome["folder"] else None
    if folder and not (folder / CONFIG_FILE).is_file():  # the whole of outputs/ may have been moved since
        moved = sweep.parent.parent / folder.parent.name / folder.name
        folder = moved if moved.is_dir() else folder
    summary = read_json(folder / "summary.json") if folder else {}
    metrics, rates = (numbers_of(summary.get(name)) for name in ("metrics", "rates"))
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
        # Without the start of the process.
        seconds=numbers_of(summary.get("seconds")).get("all", float(outcome.get("seconds", 0.0))),
        folder=folder,
        metrics=dict(sorted(metrics.items(), key=lambda item: item[0].partition("/")[2] != best_metric))
        | {f"speed/{name}": rate for name, rate in rates.items()},
        metric=f"{usual}/{best_metric}",
        mode=str(trainer.get("best_mode", "min")),
    )


def settings_of(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Finished jobs by the overrides in which they differ but seeds; most seeds, then best mean first."""
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    settings: dict[str, list[Job]] = {}
    for job in jobs:
        if math.isfinite(job.rank):
            texts = [t for t in job.overrides if t not in common and not t.startswith(("seed=", "seeds."))]
            settings.setdefault(" ".join(texts) or "-", []).append(job)
    ranks = {name: (-len(same), fmean(job.rank for job in same)) for name, same in settings.items()}
    return {name: settings[name] for name in sorted(settings, key=ranks.__getitem__)}


def best_job(jobs: Sequence[Job]) -> Job | None:
    """The best job of the best setting; None where none has finished."""
    same = next(iter(settings_of(jobs).values()), [])
    return min(same, key=lambda job: (job.rank, job.number), default=None)


def sharing_note(best: Job, jobs: Sequence[Job]) -> str:
    """A note in brackets where several settings share the value of the best job; else empty."""
    count = sum(any(job.rank == best.rank for job in same) for same in settings_of(jobs).values())
    return f" ({count} settings share this value)" if count > 1 else ""


def verdicts(jobs: Sequence[Job]) -> list[str]:
    """A sentence on each setting with several seeds: a paired t-test of the best one against it."""
    repeated = [sorted(same, key=lambda j: j.number) for same in settings_of(jobs).values() if len(same) > 1]
    samples = [{job.values.get("seed"): job.metrics[job.metric] for job in same} for same in repeated]
    texts = []
    for same, sample in zip(repeated[1:], samples[1:], strict=True):
        pairs = np.array([(value, samples[0][s]) for s, value in sample.items() if s in samples[0]])
        if len(pairs) < 2:
            continue
        interval, p = paired_t(pairs[:, 1] - pairs[:, 0])
        words = "cannot be told from" if interval.low <= 0 <= interval.high else "is better than"
        value, low, high = map(number_text, (interval.value, interval.low, interval.high))
        test = f"paired t-test over {len(pairs)} seeds, p = {p:.2g}"
        names = (f"job {side[0].number}" for side in (repeated[0], same))
        texts.append(f" {words} ".join(names) + f": {same[0].metric} {value} [{low}, {high}] ({test})")
    return texts


def objectives_of(sweep: Path, outcome: dict[str, Any]) -> dict[str, Any]:
    """All metrics of a trial, and as `value` the one that the best step went by, for its study."""
    job = _read_job(sweep, outcome)
    return {"metrics": dict(job.metrics), "value": job.metrics.get(job.metric)}


def print_table(jobs: Sequence[Job], sweep: Path) -> None:
    """Print the jobs of a sweep, the best first, means over seeds, and what to do with the best one."""
    console = result_console()
    console.print(f"{len(jobs)} jobs")
    for rows in _tables(jobs):
        table = table_of(list(rows[0]), (row.values() for row in rows), wraps=["overrides"])
        terminal.print_table(table, console=console, below=1)
    for text in verdicts(jobs):
        console.print(text, soft_wrap=True, markup=False)
    lines = {"sweep": shown_path(sweep)}
    if (sweep / REPORT_NAME).is_file():
        lines["report"] = shown_path(sweep / REPORT_NAME)
    if (job := best_job(jobs)) and job.folder:
        best = shown_path(job.folder)
        lines["best"] = f"job {job.number}{sharing_note(job, jobs)}, {best}"
        lines["next"] = f"runwright evaluate {quote(best)}"
        if (sweep / STUDY_FILE).is_file():
            lines[""] = f"runwright sweep best {quote(sweep.name)}"
    print_facts(lines.items(), console=console)


def _tables(jobs: Sequence[Job]) -> Iterator[list[dict[str, str]]]:
    """The rows of the jobs, then means over jobs that differ in their seeds alone where there are such."""
    names = dict.fromkeys(name for job in jobs for name in job.metrics if not name.startswith("speed/"))
    names = list(names)[:MAX_METRICS]
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    rows = []
    for job in jobs:
        different = [text for text in job.overrides if text not in common]
        row = {"job": str(job.number), "overrides": rounded(" ".join(different)) or "-"}
        row["status"] = job.status + (f" ({job.exit_code})" if job.exit_code else "")
        row |= {name: mean_text([job.metrics[name]] if name in job.metrics else []) for name in names}
        rows.append(row | {"time": duration(job.seconds), "run": job.folder.name if job.folder else "-"})
    if rows:
        yield rows
    if repeated := {name: same for name, same in settings_of(jobs).items() if len(same) > 1}:
        yield [
            {"job": str(min(job.number for job in same)), "mean ± standard deviation": rounded(setting)}
            | {"seeds": str(len(same))}
            | {name: mean_text([job.metrics[name] for job in same if name in job.metrics]) for name in names}
            for setting, same in repeated.items()
        ]
