"""Runs on the terminal: many in a table, one in full."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.analysis.runs.rows import DIED, RunRow, as_text

if TYPE_CHECKING:
    from rich.text import Text

NUM_METRICS = 3  # columns of metrics unless --columns names them
MAX_CELL = 60
MIN_OVERRIDES = 30
STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red", "KILLED": "yellow", DIED: "bold red"}
HEADINGS = {"seconds": "time", "overrides": "what is special about it"}


def default_columns(rows: Sequence[RunRow]) -> list[str]:
    """Id, status and time, and the metrics that most of the runs have: those of the test split first."""
    names = [name for row in rows for name in row.metrics if name.count("/") == 1]
    counts = Counter(name for name in names if name.startswith(("test/", "validation/")))

    def rank(name: str) -> tuple[bool, int, bool]:
        return name.endswith("/loss"), -counts[name], not name.startswith("test/")

    metrics = sorted(counts, key=rank)[:NUM_METRICS]
    return ["id", "name", "status", "started", "seconds", "step", *metrics, "overrides"]


def print_rows(rows: Sequence[RunRow], columns: Sequence[str], *, num_hidden: int = 0) -> None:
    """Print a table, in the order given."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from runwright.report.terminal import BETWEEN, print_table, result_console

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    console = result_console()
    common = set.intersection(*(set(row.overrides) for row in rows)) if len(rows) > 1 else set()
    cells = {column: [_cell(row, column, common=common) for row in rows] for column in columns}
    widths = {
        column: max(len(HEADINGS.get(column, column)), *(len(cell) for cell in cells[column]))
        for column in columns
    }
    if "overrides" in widths:  # the only one that is cut, where the terminal is narrow
        others = sum(widths.values()) - widths["overrides"] + BETWEEN * (len(widths) - 1)
        widths["overrides"] = min(widths["overrides"], max(MIN_OVERRIDES, console.width - others))
    for column, width in widths.items():
        is_number = column in ("seconds", "step") or any(isinstance(row.value(column), float) for row in rows)
        table.add_column(
            HEADINGS.get(column, column),
            justify="right" if is_number and column != "started" else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=width,
        )
    for row_cells in zip(*cells.values(), strict=True):
        table.add_row(*row_cells)
    print_table(table, console=console)
    if num_hidden:
        console.print(f"… and {num_hidden:,} before these: --limit 0 shows all", style="dim")
    if any(row.status == DIED for row in rows):
        console.print(f"{DIED}: says that it runs, and does not; runwright doctor --fix marks it")


def _cell(row: RunRow, column: str, *, common: set[str]) -> Text:
    from rich.text import Text

    value = row.value(column)
    match column:
        case "started":
            return Text(_moment(value)[:16])
        case "seconds":
            return Text(_duration(value))
        case "overrides":
            return Text(" ".join(text for text in row.overrides if text not in common) or "-")
        case "status":
            return Text(value, style=STYLES.get(value, ""))
        case "folder":
            return Text(value.removeprefix(f"{Path.cwd()}/") if value else "-")
    return Text(_short(value))


def print_run(row: RunRow, facts: Sequence[tuple[str, str]]) -> None:
    """Print one run in full: facts, and metrics with their intervals."""
    from rich.text import Text

    from runwright.report.summary import print_metrics
    from runwright.report.terminal import result_console
    from runwright.types import Interval

    console = result_console()
    console.print(
        Text.assemble((row.name, "bold"), f" {row.run_id} ", (row.status, STYLES.get(row.status, "")))
    )
    for label, text in facts:
        console.print(Text.assemble((f" {label:<12}", "dim"), text), soft_wrap=True)
    if row.metrics:
        intervals = {
            name: Interval(**{key: float(value) for key, value in interval.items()})
            for name, interval in row.intervals.items()
        }
        print_metrics(row.metrics, intervals, console=console)


def facts_of(row: RunRow) -> Iterator[tuple[str, str]]:
    """Labels and texts of one run, a line each."""
    yield "started", _moment(row.start_time)
    if row.end_time is not None:
        yield "ended", f"{_moment(row.end_time)}, after {_duration(row.seconds)}"
    elif row.seconds is not None:
        yield "for", _duration(row.seconds)
    if row.reason:
        yield "because", row.reason
    if row.step is not None:
        yield "step", f"{row.step:,}"
    if row.record:
        device = f" on {row.record['device']}" if row.record.get("device") else ""
        yield "process", f"{row.record.get('pid')} of {row.record.get('host')}{device}"
    yield "overrides", " ".join(row.overrides) or "none"
    folder = row.folder
    if folder is None:
        return
    yield "folder", str(folder)
    steps = sorted(path.name.removeprefix("step-") for path in folder.glob("checkpoints/step-*"))
    if steps:
        yield "checkpoints", ", ".join(str(int(step)) if step.isdigit() else step for step in steps)
    for name in ("best", "predictions", "tables", "plots"):
        if (folder / name).is_dir():
            yield name, ", ".join(sorted(path.name for path in (folder / name).iterdir()))
    resumes = folder / "resumes.jsonl"
    if resumes.is_file():
        yield "resumed", f"{len(resumes.read_bytes().splitlines())} times"


def metric_text(value: float) -> str:
    """A metric with the digits that matter."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.4g}"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = metric_text(value) if isinstance(value, float) else as_text(value)
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _duration(seconds: float | None) -> str:
    """`9.5s`, `42s`, `3m 10s`, `2h 05m`, `3d 4h`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{int(seconds)}s"
    minutes, hours = divmod(int(seconds), 60), divmod(int(seconds) // 60, 60)
    if seconds < 3600:
        return f"{minutes[0]}m {minutes[1]:02d}s"
    return f"{hours[0]}h {hours[1]:02d}m" if hours[0] < 24 else f"{hours[0] // 24}d {hours[0] % 24}h"
