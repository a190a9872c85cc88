"""`runwright doctor`: report faults of torch, stores and runs, with what to do about each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from runwright.cli.flags import print_json
from runwright.errors import TrackingError

if TYPE_CHECKING:
    from runwright.analysis.doctor import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
EXAMPLES = """examples:
  runwright doctor
  runwright doctor --fix
      # give runs that died their true status, offer to upload the rest
  runwright doctor --fix --yes  the same without a question
  runwright doctor --json

Exit code 0: nothing but warnings; 1: a problem. Without --fix nothing is
changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fix", action="store_true", help="mark runs that died; offer to upload what is missing"
    )
    parser.add_argument("--yes", action="store_true", help="with --fix: upload without asking")
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    """Examine, report, and with --fix mark dead runs and upload the rest."""
    from runwright.analysis.doctor import examine

    output_dir = Path(args.output_dir).expanduser()
    findings = list(examine(output_dir, fix=args.fix))
    if args.json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print_findings(findings)
    has_problem = any(finding.level == "problem" for finding in findings)
    all_uploaded = _upload(output_dir, yes=args.yes) if args.fix else True
    return 1 if has_problem or not all_uploaded else 0


def _print_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each, its advice on a line of its own, and the number of each level."""
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


def _upload(output_dir: Path, *, yes: bool) -> bool:
    """Upload what MLflow lacks, after a question without --yes; False where a store did not take it."""
    from runwright.analysis.doctor import find_unsent
    from runwright.runs.folder import find_runs

    unsent = find_unsent(find_runs(output_dir))
    if not unsent:
        return True
    if not yes:
        question = f"Upload what MLflow lacks of {len(unsent)} runs now? [Y/n] "
        if not sys.stdin.isatty() or input(question).strip().lower() not in ("", "y", "yes"):
            return True  # without a terminal nobody can be asked; the report names the command
    from runwright.tracker.mlflow.tracker import sync

    all_taken = True
    for folder in unsent:
        try:
            print(f"{folder}: {sync(folder)} records sent", file=sys.stderr)
        except TrackingError as error:
            print(f"{folder}: {error}", file=sys.stderr)
            all_taken = False
    return all_taken
