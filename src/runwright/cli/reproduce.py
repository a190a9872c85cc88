"""`runwright reproduce`: execute a run again and compare its numbers."""

import argparse

from runwright.cli.flags import add_permission_flags

USAGE = "runwright reproduce [options] [--set KEY=VALUE] RUN"
EXAMPLES = """examples:
  runwright reproduce latest:vader
  runwright reproduce latest --set seed=1

The second run gets a folder of its own, with the comparison in
reproduction.json. Compared are the data of each step, every metric and the
weights; named is what differs around the two: settings, source files, rows,
model files, packages, machine.
Exit code 0: identical, or every metric within 1e-5; 1: different."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, id, latest or latest:NAME")
    help_text = "change this first; may be repeated"
    add("--set", metavar="KEY=VALUE", action="append", default=[], help=help_text)
    add_permission_flags(parser)


def execute(args: argparse.Namespace) -> int:
    from runwright.runs.folder import resolve_run

    folder = resolve_run(args.run)
    from runwright.analysis.reproduce import reproduce, show

    reproduction = reproduce(folder, args.set)
    show(reproduction)
    return 1 if reproduction.verdict == "different" else 0
