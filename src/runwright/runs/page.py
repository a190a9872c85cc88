"""A run or a sweep as one HTML page in its folder."""

from __future__ import annotations

from pathlib import Path

from runwright.errors import ConfigError
from runwright.report.page import records
from runwright.report.page.document import save
from runwright.report.page.records import RunRecord
from runwright.report.page.run_page import run_page
from runwright.report.page.sweep_page import sweep_page
from runwright.report.summary import REPORT_NAME
from runwright.runs.folder import CONFIG_FILE, RUN_FILE, read_config, resolve_run
from runwright.runs.sweep import OUTCOME_FILE, read_jobs
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import read_curves

SWEEPS = "sweeps"
LATEST_SWEEP = "latest:sweeps"
MAX_AT_THE_END = 25 * 2**20  # bytes of predictions: reading them takes about half a second


def find(reference: str, *, output_dir: str = "outputs") -> tuple[Path, bool]:
    """The folder of a run or a sweep, and whether it is a sweep's."""
    path = Path(reference).expanduser()
    if path.is_dir() and not (path / RUN_FILE).is_file() and next(path.glob(f"**/{OUTCOME_FILE}"), None):
        return path.resolve(), True
    sweeps = sorted(
        folder for folder in (Path(output_dir).expanduser() / SWEEPS).glob("*/") if folder.is_dir()
    )
    matches = [
        sweep
        for sweep in sweeps
        if reference and (sweep.name == reference or sweep.name.rpartition("-")[2].startswith(reference))
    ]
    if reference == LATEST_SWEEP:
        matches = sweeps[-1:]
        if not matches:
            raise ConfigError(f"{reference}: given no sweep, expected one in {output_dir}/{SWEEPS}")
    if len(matches) == 1:
        return matches[0].resolve(), True
    return resolve_run(reference, output_dir=output_dir), False


def write_report(folder: Path, *, is_sweep: bool, file: Path | None = None) -> Path:
    """Write the page; by default into the folder itself."""
    target = file or folder / REPORT_NAME
    save(sweep_report(folder) if is_sweep else run_page(read_run_record(folder)), target)
    return target


def is_cheap(folder: Path) -> bool:
    """Return True if the page of a run is made in less than a second, so that each run may end with it."""
    return sum(file.stat().st_size for file in folder.glob("predictions/*.jsonl")) <= MAX_AT_THE_END


def read_run_record(folder: Path) -> RunRecord:
    """The files of a run, read as data."""
    summary, journal = records.read_json(folder / "summary.json"), folder / JOURNAL_FILE
    file = folder / CONFIG_FILE
    return RunRecord(
        folder=folder,
        run=records.read_json(folder / RUN_FILE),
        config=read_config(file),
        config_text=file.read_text(encoding="utf-8"),
        curves=read_curves(journal) if journal.is_file() else {},
        summary=summary,
        provenance=records.read_json(folder / "provenance.json"),
        data=records.read_json(folder / "data.json"),
        task=records.read_json(folder / "task.json"),
        numbers=records.read_json(folder / "plots" / records.NUMBERS_FILE),
        predictions=records.read_predictions(folder / "predictions"),
        tables=records.read_tables(folder / "tables"),
        metrics=records.numbers_of(summary.get("metrics")),
    )


def sweep_report(folder: Path) -> str:
    """The page of a sweep from what its jobs left."""
    jobs = read_jobs(folder)
    if not jobs:
        raise ConfigError(
            f"{folder}: given a sweep none of whose jobs has ended, expected {OUTCOME_FILE} files"
        )
    journals = {job.number: job.folder / JOURNAL_FILE for job in jobs if job.folder}
    curves = {number: read_curves(journal) for number, journal in journals.items() if journal.is_file()}
    return sweep_page(folder, jobs, curves=curves, report_name=REPORT_NAME)
