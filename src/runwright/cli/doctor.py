"""`runwright doctor`: is everything right with packages, machine, stores and runs, and what is to be done."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SUMMARY = "Check packages, machine, stores and runs; say what to do about what is not right."
EXAMPLES = """examples:
  runwright doctor
  runwright doctor --fix
      # give runs that died their true status, offer to upload the rest
  runwright doctor --fix --yes  the same without a question
  runwright doctor --json

Exit code 0: nothing but warnings; 1: a problem. Without --fix nothing is
changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.usage = "runwright doctor [options]"
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--fix", action="store_true", help="mark runs that died; offer to upload what is missing"
    )
    parser.add_argument("--yes", action="store_true", help="with --fix: upload without asking")
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace, overrides: list[str]) -> int:
    """Examine, report, and on demand mend."""
    from runwright.errors import ConfigError

    if overrides:
        raise ConfigError(f"{overrides[0]}: given an override, expected none")
    from runwright.analysis.doctor.examine import examine
    from runwright.analysis.doctor.findings import print_findings

    output_dir = Path(args.output_dir).expanduser()
    findings = examine(output_dir, fix=args.fix)
    if args.json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        print_findings(findings)
    has_problem = any(finding.level == "problem" for finding in findings)
    if args.fix and not _upload(output_dir, yes=args.yes):
        has_problem = True
    return 1 if has_problem else 0


def _upload(output_dir: Path, *, yes: bool) -> bool:
    """Upload what MLflow lacks, where that is wanted; False where a store did not take it."""
    from runwright.analysis.doctor.stores import unsynced
    from runwright.errors import TrackingError
    from runwright.runs.folder import find_runs

    missing = unsynced(find_runs(output_dir))
    if not missing or not (yes or _is_wanted(len(missing))):
        return True
    from runwright.tracker.mlflow.tracker import sync

    all_taken = True
    for folder in missing:
        try:
            print(f"{folder}: {sync(folder)} records sent", file=sys.stderr)
        except TrackingError as error:
            print(f"{folder}: {error}", file=sys.stderr)
            all_taken = False
    return all_taken


def _is_wanted(num_runs: int) -> bool:
    if not sys.stdin.isatty():  # nobody to ask: the report says what to do
        return False
    return input(f"Upload what MLflow lacks of {num_runs} runs now? [Y/n] ").strip().lower() in (
        "",
        "y",
        "yes",
    )
