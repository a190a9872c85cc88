"""All that the doctor looks at, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runwright.analysis.doctor.findings import Finding
from runwright.analysis.doctor.machine import check_machine
from runwright.analysis.doctor.packages import check_packages
from runwright.analysis.doctor.stores import check_stores, check_unsent
from runwright.runs.folder import find_runs
from runwright.runs.states import find_dead, mark


def examine(output_dir: Path, *, fix: bool) -> list[Finding]:
    """Look at everything; with `fix`, give runs that died their true status."""
    return [*check_packages(), *check_machine(output_dir), *_check_runs(output_dir, fix=fix)]


def _check_runs(output_dir: Path, *, fix: bool) -> Iterator[Finding]:
    died = find_dead(output_dir)
    if not died:
        num_runs = len(find_runs(output_dir))
        yield Finding(level="ok", what="runs", text=f"{num_runs} in {output_dir}, each with a true status")
    for death in died:
        place, advice = f"{death.folder.parent.name}/{death.folder.name}", "runwright doctor --fix marks it"
        if not fix:
            yield Finding(level="problem", what="run", text=f"{place}: {death.reason}", advice=advice)
            continue
        try:
            text = f"marked {death.status}" if mark(death) else "is at work again"
            yield Finding(level="ok", what="run", text=f"{place}: {text}: {death.reason}")
        except (OSError, ValueError) as error:
            text, advice = f"{place}: cannot be marked ({error})", "free some space, or ask its owner"
            yield Finding(level="problem", what="run", text=text, advice=advice)
    runs = find_runs(output_dir)
    yield from check_stores(output_dir, runs)
    yield check_unsent(runs)
