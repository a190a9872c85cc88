"""`runwright doctor`: report faults of torch, stores and runs, with what to do about each."""

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from runwright.cli.flags import print_json, refuse_beside

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
EXAMPLES = """examples:
  runwright doctor
  runwright doctor --fix  give runs that died their true status
  runwright doctor --bundle latest  a zip file for a bug report: configuration,
                          versions, log and traceback, with secrets masked

Exit code 0: nothing but warnings; 1: a problem."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fix", action="store_true", help="mark runs that died")
    parser.add_argument("--bundle", metavar="RUN", help="write what a bug report needs into a zip file here")
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    from runwright.analysis.doctor import examine

    refuse_beside(args, "bundle", "fix", "json")
    if args.bundle:
        from runwright.analysis.doctor import write_bundle
        from runwright.runs.folder import resolve_run

        folder = resolve_run(args.bundle, output_dir=args.output_dir)
        file = Path(f"{folder.parent.name}-{folder.name}.zip")
        print(f"{file}: {', '.join(write_bundle(folder, file))}")
        print("Secrets are masked; look through it all the same before you send it.")
        return 0
    findings = list(examine(Path(args.output_dir).expanduser(), fix=args.fix))
    counts = Counter(finding.level for finding in findings)
    if args.json:
        print_json([asdict(finding) for finding in findings])
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            line = Text.assemble((f"{finding.level:<8}", STYLES[finding.level]), f"{finding.what:<{width}}  ")
            console.print(line + Text(finding.text), soft_wrap=True)
            if finding.advice:
                console.print(Text(f"{'':<8}{'':<{width}}  → {finding.advice}"), soft_wrap=True)
        console.print(f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} ok")
    return 1 if counts["problem"] else 0
