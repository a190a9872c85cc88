"""`runwright init`: create a project that is ready to run."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """examples:
  runwright init my-project
  cd my-project
  runwright train experiment=tiny          seconds on a CPU, no download"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the new folder; also the name of the project")


def execute(args: argparse.Namespace) -> int:
    """Create the folder and list its files."""
    from runwright.cli.scaffold import scaffold

    folder = Path(args.name)
    for file in scaffold(folder):
        print(f"  {folder / file}")
    print(f"\nNext:\n  cd {folder}\n  runwright train experiment=tiny\n\nREADME.md says where things are.")
    return 0
