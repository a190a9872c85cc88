"""Runs as rows, read from their folders without heavy imports."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.text import Text

from runwright.config.options import TARGET
from runwright.errors import ConfigError, did_you_mean, listed, rounded
from runwright.report import terminal
from runwright.runs.folder import CONFIG_FILE, read_run, whole_runs
from runwright.runs.states import UNENDED, look_at
from runwright.store import flatten, read_json
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import SYSTEM, read

SUMMARY_FILE = "summary.json"
DIED = "DIED"  # run.json says RUNNING, but the process is gone: `runwright doctor --fix` marks it
TAIL_BYTES = 65_536  # of the journal of a run without a summary: holds some hundred steps
FIELDS = ("id", "name", "status", "started", "seconds", "step", "overrides", "folder")


@dataclass(kw_only=True)
class RunRow:
    """One run with its status, metrics and settings."""

    run_id: str
    name: str
    status: str
    start_time: float  # seconds since 1970
    end_time: float | None  # None while it is running
    metrics: dict[str, float]  # of a run without a summary the last ones
    overrides: tuple[str, ...]
    step: int | None
    folder: Path
    reason: str  # why it failed or died
    intervals: Mapping[str, Mapping[str, Any]]  # of metrics
    record: Mapping[str, Any]  # run.json

    @property
    def short_id(self) -> str:
        return self.folder.name.rpartition("-")[2]

    @property
    def seconds(self) -> float | None:
        """Duration without pauses before a resume; up to now for a run that goes on, None if unknown."""
        if self.end_time is None and self.status not in UNENDED:
            return None
        return (self.end_time or time.time()) - self.start_time - float(self.record.get("idle_seconds", 0.0))

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The configuration by dotted names."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
        try:
            return flatten(yaml.load((self.folder / CONFIG_FILE).read_bytes(), Loader=loader))  # noqa: S506 - both are the safe one
        except (OSError, yaml.YAMLError):
            return {}

    def value(self, key: str) -> Any:
        """A field, metric or setting by name, for a config group its class; None where the run has none."""
        if key in FIELDS:
            value = getattr(self, {"id": "short_id", "started": "start_time"}.get(key, key))
            return str(value) if isinstance(value, Path) else value
        target = str(self.settings.get(f"{key}.{TARGET}", "")).split(".")
        return self.metrics.get(key, self.settings.get(key, ".".join(target[-2:]) or None))

    def has(self, key: str) -> bool:
        return key in self.metrics or not {key, f"{key}.{TARGET}"}.isdisjoint(self.settings)

    def as_json(self) -> dict[str, Any]:
        """Everything but the settings, for other programs."""
        return {
            "run_id": self.run_id,
            **{name: self.value(name) for name in FIELDS},
            "started": _iso(self.start_time),
            "ended": _iso(self.end_time),
            "reason": self.reason,
            "metrics": self.metrics,
        }


def read_rows(output_dir: str | Path = "outputs") -> list[RunRow]:
    """All runs in `outputs/`, oldest first; a folder that is being made or removed is left out."""
    return [row for run, record in whole_runs(output_dir).items() if (row := read_row(run, record))]


def read_row(folder: Path, record: dict[str, Any] | None = None) -> RunRow | None:
    """The run in a folder; None where there is no whole one. `record`: its run.json, if read."""
    try:
        record = record or read_run(folder)
        status, end, reason = record["status"], record.get("end_time"), ""
        if status in UNENDED and (death := look_at(folder, record)):
            status, end, reason = DIED, death.last_sign, death.reason
        summary = read_json(folder / SUMMARY_FILE) if status == "FINISHED" else {}
        # Infinite and undefined metrics are strings in the file.
        metrics = {name: float(value) for name, value in summary.get("metrics", {}).items()}
        step = summary.get("global_step")
        if not summary:
            metrics, step = last_metrics(folder / JOURNAL_FILE)
            step = (record.get("end") or {}).get("step", step)  # the journal has not every step
        return RunRow(
            run_id=record["run_id"],
            name=record["name"],
            status=status,
            start_time=float(record["start_time"]),
            end_time=end,
            metrics=metrics,
            overrides=tuple(map(str, record.get("overrides", ()))),
            step=step,
            folder=folder,
            reason=reason or str(record.get("reason") or record.get("error") or ""),
            intervals=summary.get("intervals", {}),
            record=record,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def last_metrics(journal: Path) -> tuple[dict[str, float], int | None]:
    """The last value of each metric near the end of a journal, and the last step of the training."""
    metrics: dict[str, float] = {}
    last: int | None = None
    with contextlib.suppress(OSError), journal.open("rb") as file:
        if file.seek(max(0, journal.stat().st_size - TAIL_BYTES)):
            file.readline()  # it began before
        for record, _ in read(journal, offset=file.tell()):
            named = record.get("m", {})
            metrics |= {name: float(value) for name, value in named.items()}
            if not all(name.startswith(SYSTEM) for name in named):
                last = max(record["s"], last or 0)
    return metrics, last


def sort(rows: Sequence[RunRow], key: str) -> list[RunRow]:
    """Rows by a field, metric or setting, numbers before texts; those without it come last."""
    require_key(key, rows)
    return sorted(rows, key=lambda row: _rank(row.value(key)))


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers, also those written as text, before texts, and these before NaN and a missing value."""
    text = "nan" if value is None else as_text(value)
    try:
        number = float(text)
    except ValueError:
        return (1, 0.0, text)
    return (2, 0.0, "") if math.isnan(number) else (0, number, "")


def require_key(key: str, rows: Sequence[RunRow]) -> None:
    """Raise ConfigError with the nearest name where no run has such a field, metric or setting."""
    if not rows or key in FIELDS or any(row.has(key) for row in rows):
        return
    names = {name for row in rows for name in row.metrics}
    hint = did_you_mean(key, {*FIELDS, *names, *rows[-1].settings})
    metrics = sorted(name for name in names if name.count("/") == 1)
    metrics.sort(key=lambda name: not name.startswith(("test/", "validation/")))
    expected = f"a metric ({listed(metrics)}), a setting such as optimizer.lr, or one of {', '.join(FIELDS)}"
    raise ConfigError(f"{key}: no run has it, expected {expected}" + (f"; {hint}" if hint else ""))


def as_text(value: Any) -> str:
    """A value as a configuration writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _iso(moment: float | None) -> str | None:
    return None if moment is None else time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))


NUM_METRICS = 3  # columns of metrics
MAX_CELL = 60
STYLES = {"FINISHED": "green", "RUNNING": "cyan", "KILLED": "yellow", "PRUNED": "yellow"}
STYLES |= {"FAILED": "red", DIED: "bold red"}


def print_rows(rows: Sequence[RunRow], *, by: str | None = None) -> None:
    """Print a table, in the order of the rows, with what they are sorted by."""
    console = terminal.result_console()
    common = set.intersection(*(set(row.overrides) for row in rows)) if len(rows) > 1 else set()
    columns = ["id", "name", "status", "started", "seconds", "step", *usual_metrics(rows, by=by), "overrides"]
    table = terminal.table_of(
        ["time" if column == "seconds" else column for column in columns],
        ([_cell(row, column, common=common) for column in columns] for row in rows),
        right={"time", *columns[5:-1]},
        wraps=["overrides"],  # their cells alone may be cut
    )
    terminal.print_table(table, console=console)
    if any(row.status == DIED for row in rows):
        console.print(f"{DIED}: its process is gone, which runwright doctor --fix records")


def usual_metrics(rows: Sequence[RunRow], *, by: str | None = None) -> list[str]:
    """The metric that rows are sorted by, then those of most runs: of the test split first, losses last."""
    names = [name for row in rows for name in row.metrics if name.count("/") == 1]
    counts = Counter(name for name in names if name.startswith(("test/", "validation/")))
    usual = sorted(counts, key=lambda n: (n.endswith("/loss"), -counts[n], not n.startswith("test/")))
    first = [by] if by and by not in FIELDS else []
    return [*first, *(name for name in usual if name != by)][:NUM_METRICS]


def _cell(row: RunRow, column: str, *, common: set[str]) -> Text:
    value = row.value(column)
    if value is None:
        return Text("" if column == "seconds" else "-")
    match column:
        case "started":
            return Text(time.strftime("%Y-%m-%d %H:%M", time.localtime(value)))
        case "seconds":
            return Text(terminal.duration(value))
        case "overrides":
            text = " ".join(text for text in row.overrides if text not in common) or "-"
            return Text(rounded(text), no_wrap=True, overflow="ellipsis")
    text = terminal.number_text(value) if isinstance(value, float) else as_text(value)
    return Text(terminal.shorten(text, MAX_CELL), style=STYLES.get(text, "") if column == "status" else "")
