"""What was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]
STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    what: str  # what was looked at, in a word or two
    text: str  # how it is
    advice: str = ""  # what to do; of an ok finding nothing


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each, what to do on a line of its own, and how many of each there are."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        line = Text.assemble((f"{finding.level:<8}", STYLES[finding.level]), f"{finding.what:<{width}}  ")
        console.print(line + Text(finding.text), soft_wrap=True)
        if finding.advice:
            console.print(Text(f"{'':<8}{'':<{width}}  → {finding.advice}"), soft_wrap=True)
    counts = {level: sum(finding.level == level for finding in findings) for level in STYLES}
    console.print(f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} ok")


def size(num_bytes: float) -> str:
    """`3.2 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"
