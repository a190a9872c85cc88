"""One run as a row: what its folder says, read without anything heavy; settings only where they matter."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError, did_you_mean, listed
from runwright.runs.folder import CONFIG_FILE, RUN_FILE
from runwright.runs.states import UNENDED, look_at
from runwright.store import flatten
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE

SUMMARY_FILE = "summary.json"
DIED = "DIED"  # says that it runs, and does not: `runwright doctor --fix` marks it
TAIL_BYTES = 65_536  # of the journal of a run without a summary: holds some hundred steps
FIELDS = ("id", "name", "status", "started", "seconds", "step", "host", "device", "overrides", "folder")


@dataclass(kw_only=True)
class RunRow:
    """What is known of one run."""

    run_id: str
    name: str
    status: str
    start_time: float  # seconds since 1970
    end_time: float | None  # None while it goes on
    overrides: tuple[str, ...]
    metrics: dict[str, float]  # of a run without a summary the last ones
    step: int | None
    folder: Path | None
    reason: str = ""  # why it failed or died
    record: Mapping[str, Any] = field(default_factory=dict)  # run.json
    given_settings: Mapping[str, Any] | None = None  # by dotted name, where no folder has them

    @property
    def short_id(self) -> str:
        """What people type."""
        return self.folder.name.rpartition("-")[2] if self.folder else self.run_id[:8]

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far."""
        if self.end_time is None and self.status not in UNENDED:
            return None
        return (self.end_time or time.time()) - self.start_time

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The configuration by dotted names."""
        if self.given_settings is not None:
            return self.given_settings
        return _read_settings(self.folder / CONFIG_FILE) if self.folder else {}

    def value(self, key: str) -> Any:
        """A field, a figure or a setting by its name; None where the run has none."""
        if key in FIELDS:
            return self._field(key)
        if key in self.metrics:
            return self.metrics[key]
        return self.settings.get(key)

    def as_json(self) -> dict[str, Any]:
        """Everything but the settings, for other programs."""
        return {
            "run_id": self.run_id,
            **{name: self._field(name) for name in FIELDS},
            "started": _iso(self.start_time),
            "ended": _iso(self.end_time),
            "reason": self.reason,
            "metrics": self.metrics,
        }

    def _field(self, key: str) -> Any:
        match key:
            case "id":
                return self.short_id
            case "started":
                return self.start_time
            case "overrides":
                return list(self.overrides)
            case "folder":
                return str(self.folder) if self.folder else None
            case "host" | "device":
                return self.record.get(key)
            case _:
                return getattr(self, key)


def read_rows(output_dir: str | Path = "outputs") -> list[RunRow]:
    """All runs in `outputs/`, oldest first; a folder that is being made or removed is left out."""
    # os.scandir instead of a glob: with 500 runs a third of the time of the whole command.
    rows = [row for folder in _run_folders(Path(output_dir).expanduser()) if (row := read_row(folder))]
    return sorted(rows, key=lambda row: (row.start_time, str(row.folder)))


def read_row(folder: Path) -> RunRow | None:
    """The run in a folder; None where there is no whole one."""
    try:
        record = json.loads((folder / RUN_FILE).read_bytes())
        status, end, reason = record["status"], record.get("end_time"), ""
        if status in UNENDED and (death := look_at(folder, record)):
            status, end, reason = DIED, death.last_sign, death.reason
        summary = _read_summary(folder) if status == "FINISHED" else {}
        metrics, step = _figures(summary.get("metrics", {})), summary.get("global_step")
        if not summary:
            metrics, step = last_figures(folder / JOURNAL_FILE)
        return RunRow(
            run_id=record["run_id"],
            name=record["name"],
            status=status,
            start_time=float(record["start_time"]),
            end_time=end,
            overrides=tuple(map(str, record.get("overrides", ()))),
            metrics=metrics,
            step=step,
            folder=folder,
            reason=reason or str(record.get("reason") or record.get("error") or ""),
            record=record,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def last_figures(journal: Path) -> tuple[dict[str, float], int | None]:
    """The last value of each figure near the end of a journal, and the last step."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return {}, None
    figures: dict[str, float] = {}
    last: int | None = None
    for line in lines:
        if not line.startswith(b'{"t":') or b'"m":' not in line:
            continue  # another event, or the torn first or last line
        try:
            record = json.loads(line)
        except ValueError:
            continue
        figures |= {name: float(value) for name, value in record["m"].items()}
        last = max(record["s"], last or 0)
    return figures, last


def sort(rows: Sequence[RunRow], key: str, *, reverse: bool = False) -> list[RunRow]:
    """Rows by a field, metric or setting, numbers before texts; those without it come last in both orders."""
    require_key(key, rows)
    with_key = [row for row in rows if _sort_key(row.value(key)) is not None]
    without = [row for row in rows if _sort_key(row.value(key)) is None]
    return [*sorted(with_key, key=lambda row: _sort_key(row.value(key)) or (), reverse=reverse), *without]


def require_key(key: str, rows: Sequence[RunRow]) -> None:
    """Raise ConfigError with the nearest name where no run has such a field, metric or setting."""
    if not rows or key in FIELDS or any(key in row.metrics or key in row.settings for row in rows):
        return
    names = {name for row in rows for name in row.metrics}
    hint = did_you_mean(key, {*FIELDS, *names, *rows[-1].settings})
    metrics = sorted(name for name in names if name.count("/") == 1)
    metrics.sort(key=lambda name: not name.startswith(("test/", "validation/")))
    raise ConfigError(
        f"{key}: no run has it, expected a metric ({listed(metrics)}), a setting such as optimizer.lr, or "
        f"one of {', '.join(FIELDS)}" + (f"; {hint}" if hint else "")
    )


def as_text(value: Any) -> str:
    """A value as it stands in a configuration."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _sort_key(value: Any) -> tuple[int, float, str] | None:
    """Numbers, also those written as text, before texts; None for NaN and for what is not there."""
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isnan(number):
        return (0, number, "")
    return None if value is None or isinstance(value, float) else (1, 0.0, as_text(value))


def _run_folders(root: Path) -> Iterator[Path]:
    try:
        names = [entry.path for entry in os.scandir(root) if entry.is_dir()]
    except OSError:
        return
    for name in names:
        for entry in os.scandir(name):
            if os.path.isfile(os.path.join(entry.path, RUN_FILE)):  # noqa: PTH113, PTH118 - as above
                yield Path(entry.path)


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / SUMMARY_FILE).read_bytes())
    except (OSError, ValueError):
        return {}


def _figures(values: Mapping[str, Any]) -> dict[str, float]:
    """Infinite and undefined figures are strings in the file."""
    return {name: float(value) for name, value in values.items()}


def _read_settings(file: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    try:
        found = yaml.load(file.read_bytes(), Loader=loader)  # noqa: S506 - both are the safe one
    except (OSError, yaml.YAMLError):
        return {}
    return flatten(found)


def _iso(moment: float | None) -> str | None:
    return None if moment is None else time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))
