"""An exploration on the terminal and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.findings import Finding
from runwright.analysis.explore.tables import Share, Table, tables
from runwright.report.terminal import print_table

FORMAT = 2  # of the JSON: raise when a key changes its meaning
MAX_ROWS = 12  # of a table on the terminal
MAX_EXAMPLES = 2  # of a finding on the terminal


def print_exploration(exploration: Exploration, findings: list[Finding], *, console: Console) -> None:
    """Print the tables of the summary, then what needs a look."""
    for note in (*exploration.columns.notes, *exploration.data.notes):
        console.print(Text(f" {visible(note, longest=400)}", style="dim"), soft_wrap=True)
    for each in tables(exploration):
        if each.is_summary:
            title = visible(each.title, longest=console.width - 1)
            console.print(Text(f"\n {title}", style="bold"), soft_wrap=True)
            print_table(_rich_table(each), console=console, left=1)
    console.print()
    if not findings:
        console.print(Text(" nothing needs a look", style="bold green"))
    for finding in findings:
        style = "bold red" if finding.level == "problem" else "bold yellow"
        line = Text.assemble((f" {finding.level:<8}", style), visible(finding.what, longest=400))
        console.print(line, soft_wrap=True)
        if finding.hint:
            console.print(Text(f"{'':9}{visible(finding.hint, longest=200)}", style="dim"), soft_wrap=True)
        for example in finding.examples[:MAX_EXAMPLES]:
            cut = visible(example, longest=max(40, console.width - 14))
            console.print(Text(f"{'':9}  “{cut}”", style="dim italic"), no_wrap=True)


def _rich_table(table: Table) -> RichTable:
    """A long table without the rows between its first and its last ones."""
    rows = [[visible(cell_text(cell), longest=40) for cell in row.values()] for row in table.rows]
    if len(rows) > MAX_ROWS:
        rows[MAX_ROWS - 3 : -2] = [["…"]]
    shown = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in table.rows[0]:
        justify = "right" if is_numeric(table, name) else "left"
        shown.add_column(Text(visible(name, longest=40)), justify=justify, no_wrap=True)
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def to_json(exploration: Exploration, findings: list[Finding]) -> str:
    """Everything as JSON, each table as a list of rows by column; no NaN in it."""
    data = exploration.data
    content = {
        "format": FORMAT,
        "name": exploration.name,
        "text_columns": exploration.columns.text_columns,
        "label_column": exploration.columns.label_column,
        "tokenizer": exploration.tokenizer_name,
        "max_length": exploration.max_length,
        "notes": [*exploration.columns.notes, *data.notes],
        "sources": data.sources,
        "parts": data.parts,
        "fingerprints": data.fingerprints,
        "findings": [asdict(finding) for finding in findings],
        "overlaps": [asdict(overlap) for overlap in exploration.overlaps],
        "noise": [asdict(noise) for noise in exploration.noise],
        "tables": {table.name: table.rows for table in tables(exploration)},
    }
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)


def is_numeric(table: Table, column: str) -> bool:
    """Whether a column holds numbers only, of which some may be missing."""
    values = [row[column] for row in table.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def cell_text(value: object) -> str:
    """A number as a person reads it; anything else as text."""
    if isinstance(value, float) and not isinstance(value, Share):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def visible(text: str, *, longest: int) -> str:
    """One line without anything that a terminal obeys or that hides."""
    flat = " ".join(text.split())
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in flat[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
