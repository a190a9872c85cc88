"""Runs on the terminal: many in a table, one in full."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.text import Text

from runwright.analysis.runs.rows import DIED, RunRow, as_text
from runwright.report.summary import print_metrics
from runwright.report.terminal import (
    BETWEEN,
    duration,
    number_text,
    plain_table,
    print_table,
    result_console,
    shorten,
)
from runwright.types import Interval

NUM_METRICS = 3  # columns of metrics unless --columns names them
MAX_CELL = 60
MIN_OVERRIDES = 12
STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red", "KILLED": "yellow", DIED: "bold red"}


def default_columns(rows: Sequence[RunRow]) -> list[str]:
    """Id, status and time, and the metrics that most of the runs have: those of the test split first."""
    names = [name for row in rows for name in row.metrics if name.count("/") == 1]
    counts = Counter(name for name in names if name.startswith(("test/", "validation/")))

    def rank(name: str) -> tuple[bool, int, bool]:
        return name.endswith("/loss"), -counts[name], not name.startswith("test/")

    metrics = sorted(counts, key=rank)[:NUM_METRICS]
    return ["id", "name", "status", "started", "seconds", "step", *metrics, "overrides"]


def print_rows(rows: Sequence[RunRow], columns: Sequence[str], *, num_hidden: int = 0) -> None:
    """Print a table, in the order of the rows; where it is too wide, names of metrics take two lines."""
    console = result_console()
    common = set.intersection(*(set(row.overrides) for row in rows)) if len(rows) > 1 else set()
    cells = {column: [_cell(row, column, common=common) for row in rows] for column in columns}
    whole = {column: "time" if column == "seconds" else column for column in columns}
    broken = {column: heading.replace("/", "/\n") for column, heading in whole.items()}

    def fitted(headings: Mapping[str, str]) -> tuple[dict[str, int], bool]:
        """Widths of the columns, and if they fit; of the overrides alone the cells may be cut."""
        widths = {
            column: max(*map(len, headings[column].split("\n")), *map(len, cells[column]), 0)
            for column in columns
        }
        free = console.width - sum(widths.values()) - BETWEEN * (len(widths) - 1)
        if "overrides" in widths:
            widths["overrides"] = min(widths["overrides"], max(MIN_OVERRIDES, widths["overrides"] + free))
            free = console.width - sum(widths.values()) - BETWEEN * (len(widths) - 1)
        return widths, free >= 0

    headings = whole
    if not fitted(whole)[1] and (fitted(broken)[1] or not console.is_terminal):
        headings = broken
    table = plain_table()
    for column, width in fitted(headings)[0].items():
        is_number = column in ("seconds", "step") or any(isinstance(row.value(column), float) for row in rows)
        justify = "right" if is_number and column != "started" else "left"
        table.add_column(headings[column], justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row_cells in zip(*cells.values(), strict=True):
        table.add_row(*row_cells)
    print_table(table, console=console)
    if num_hidden:
        console.print(f"… and {num_hidden:,} before these: --limit 0 shows all", style="dim")
    if any(row.status == DIED for row in rows):
        console.print(
            f"{DIED}: recorded as running, but its process is gone; runwright doctor --fix marks it"
        )


def _cell(row: RunRow, column: str, *, common: set[str]) -> Text:
    value = row.value(column)
    match column:
        case "started":
            return Text(_moment(value)[:16])
        case "seconds":
            return Text("" if value is None else duration(value))
        case "overrides":
            return Text(" ".join(text for text in row.overrides if text not in common) or "-")
        case "folder":
            return Text(str(value or "-").removeprefix(f"{Path.cwd()}/"))
    text = "-" if value is None else number_text(value) if isinstance(value, float) else as_text(value)
    return Text(
        shorten(text, MAX_CELL),
        style=STYLES.get(text, "") if column == "status" else "",
    )


def print_run(row: RunRow, facts: Sequence[tuple[str, str]]) -> None:
    """Print one run in full: facts, and metrics with their intervals."""
    console = result_console()
    status = row.status, STYLES.get(row.status, "")
    console.print(Text.assemble((row.name, "bold"), f" {row.run_id} ", status))
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
        yield "ended", f"{_moment(row.end_time)}, after {duration(row.seconds or 0.0)}"
    elif row.seconds is not None:
        yield "for", duration(row.seconds)
    if row.reason:
        yield "because", row.reason
    if row.step is not None:
        yield "step", f"{row.step:,}"
    if row.record:
        device = f" on {row.record['device']}" if row.record.get("device") else ""
        yield "process", f"{row.record.get('pid')} of {row.record.get('host')}{device}"
    yield "overrides", " ".join(row.overrides) or "none"
    if row.folder is None:
        return
    yield "folder", str(row.folder)
    for name in ("checkpoints", "best", "predictions", "tables", "plots"):
        if files := sorted(path.name for path in row.folder.glob(f"{name}/*")):
            yield name, ", ".join(files)
    resumes = row.folder / "resumes.jsonl"
    if resumes.is_file():
        yield "resumed", f"{len(resumes.read_bytes().splitlines())} times"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
