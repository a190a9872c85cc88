"""What a verification found, one line each, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

ORDER_FILE, FINDINGS_FILE = "order.json", "findings.json"


Verdict = Literal["holds", "fails", "reported", "not checked"]
STYLES: dict[Verdict, str] = {"holds": "green", "fails": "bold red", "reported": "", "not checked": "yellow"}
BITS = "bit for bit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str  # parity, evaluation or resume
    what: str
    found: str  # a difference, or in words
    allowed: str
    verdict: Verdict
    advice: str = ""  # what to do where it does not hold


def judge(check: str, what: str, difference: float, *, limit: float, where: str, advice: str) -> Finding:
    """A difference and whether it is small enough; `where` says of what it is the largest one."""
    holds = difference <= limit  # False for NaN
    found = f"{difference:.1e}" if difference else "0"
    return Finding(
        check=check,
        what=what,
        found=f"{found} ({where})" if difference and where else found,
        allowed=f"{limit:.0e}" if limit else BITS,
        verdict="holds" if holds else "fails",
        advice="" if holds else advice,
    )


def findings_table(findings: Iterable[Finding]) -> Table:
    """One row for each finding, by check."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("check", "what", "difference", "allowed", ""):
        table.add_column(heading, overflow="fold")
    before = ""
    for finding in findings:
        name = finding.check if finding.check != before else ""
        before = finding.check
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        words = map(Text, (finding.what, finding.found, finding.allowed))
        table.add_row(Text(name, style="bold"), *words, verdict)
    return table
