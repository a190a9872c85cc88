"""Runs for people: many in a table, one in full."""

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

NUM_FIGURES = 3  # columns of figures unless --columns says which
MAX_CELL = 60
MIN_OVERRIDES = 30
STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red", "KILLED": "yellow", DIED: "bold red"}
HEADINGS = {"seconds": "time", "overrides": "what is special about it"}


def default_columns(rows: Sequence[RunRow]) -> list[str]:
    """Who and when, and the figures that most of the runs have: those of the test split first."""
    counts = Counter(
        name
        for row in rows
        for name in row.metrics
        if name.count("/") == 1 and name.startswith(("test/", "validation/"))
    )

    def place(name: str) -> tuple[bool, int, bool]:
        return name.endswith("/loss"), -counts[name], not name.startswith("test/")

    return [
        *("id", "name", "status", "started", "seconds", "step"),
        *sorted(counts, key=place)[:NUM_FIGURES],
        "overrides",
    ]


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
    for parts in zip(*cells.values(), strict=True):
        table.add_row(*parts)
    print_table(table, console=console)
    if num_hidden:
        console.print(f"… and {num_hidden:,} before these: --limit 0 shows all", style="dim")
    if any(row.status == DIED for row in rows):
        console.print(f"{DIED}: says that it runs, and does not; runwright doctor --fix marks it")


def print_run(row: RunRow, facts: Sequence[tuple[str, str]]) -> None:
    """Print one run in full: what is known of it, its figures with their intervals, what to do next."""
    from rich.text import Text

    from runwright.report.terminal import result_console

    console = result_console()
    console.print(
        Text.assemble((row.name, "bold"), f" {row.run_id} ", (row.status, STYLES.get(row.status, "")))
    )
    for label, text in facts:
        console.print(Text.assemble((f" {label:<12}", "dim"), text), soft_wrap=True)
    if row.metrics:
        from runwright.report.summary import print_metrics
        from runwright.types import Interval

        intervals = {name: Interval(**value) for name, value in _intervals(row).items()}
        print_metrics(row.metrics, intervals, console=console)


def facts_of(row: RunRow) -> Iterator[tuple[str, str]]:
    """What is worth a line each."""
    yield "started", moment(row.start_time)
    if row.end_time is not None:
        yield "ended", f"{moment(row.end_time)}, after {duration(row.seconds)}"
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
    if row.folder is not None:
        yield "folder", str(row.folder)
        yield from _what_is_there(row.folder)


def moment(seconds: float) -> str:
    """A moment as people write it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float | None) -> str:
    """`42s`, `3m 10s`, `2h 05m`, `3d 4h`."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if whole < 10 else f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def figure(value: float) -> str:
    """A figure with the digits that matter."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.4g}"


def _cell(row: RunRow, column: str, *, common: set[str]) -> Text:
    from rich.text import Text

    value = row.value(column)
    if column == "started":
        return Text(time.strftime("%Y-%m-%d %H:%M", time.localtime(row.start_time)))
    if column == "seconds":
        return Text(duration(value))
    if column == "overrides":
        return Text(" ".join(text for text in row.overrides if text not in common) or "-")
    if column == "status":
        return Text(str(value), style=STYLES.get(str(value), ""))
    if column == "folder":
        return Text(_relative(row.folder))
    return Text(_short(value))


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = figure(value) if isinstance(value, float) else as_text(value)
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def _relative(folder: Path | None) -> str:
    if folder is None:
        return "-"
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _intervals(row: RunRow) -> dict[str, dict[str, float]]:
    import json

    try:
        assert row.folder is not None
        found = json.loads((row.folder / "summary.json").read_bytes()).get("intervals", {})
    except (OSError, ValueError, AssertionError):
        return {}
    return {name: {key: float(part) for key, part in value.items()} for name, value in found.items()}


def _what_is_there(folder: Path) -> Iterator[tuple[str, str]]:
    steps = sorted(path.name.removeprefix("step-") for path in folder.glob("checkpoints/step-*"))
    if steps:
        yield "checkpoints", ", ".join(str(int(step)) if step.isdigit() else step for step in steps)
    for name in ("best", "predictions", "tables", "plots"):
        if (folder / name).is_dir():
            yield name, ", ".join(sorted(path.name for path in (folder / name).iterdir()))
    resumes = folder / "resumes.jsonl"
    if resumes.is_file():
        yield "resumed", f"{len(resumes.read_bytes().splitlines())} times"
