"""`runwright reproduce`: execute a run again and compare its numbers."""

import argparse

from runwright.cli.flags import add_permission_flags

USAGE = "runwright reproduce [options] [--set KEY=VALUE] RUN"
EXAMPLES = """examples:
  runwright reproduce latest:vader
  runwright reproduce latest --check-only  is anything different around it?
  runwright reproduce latest --set seed=1 --tolerance 1e-3

The second run gets a folder of its own, with the comparison in
reproduction.json. Compared are the data of each step, every metric and the
weights; named is what differs around the two: settings, source files, rows,
model files, packages, machine.
Exit code 0: identical or within tolerance; 1: different."""

TOLERANCE = 1e-5  # what another order of summation does to metrics in float32 over some dozens of steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, id, latest or latest:NAME")
    add("--check-only", action="store_true", help="only say what is different around the run")
    help_text = "change this first; may be repeated"
    add("--set", metavar="KEY=VALUE", action="append", default=[], help=help_text)
    help_text = f"relative difference of metrics that counts as agreement (default {TOLERANCE:g})"
    add("--tolerance", type=float, default=TOLERANCE, help=help_text)
    add_permission_flags(parser)


def execute(args: argparse.Namespace) -> int:
    from runwright.runs.folder import resolve_run

    folder = resolve_run(args.run)
    from runwright.analysis import reproduce as reproducing

    shadow = args.allow_shadow
    if args.check_only:
        config = reproducing.configuration(folder, args.set, allow_shadow=shadow)
        changes = reproducing.changes_around(folder, config)
        print(*changes, f"{'' if changes else 'nothing that matters is '}different around the run", sep="\n")
        return 1 if changes else 0
    reproduction = reproducing.reproduce(folder, args.set, tolerance=args.tolerance, allow_shadow=shadow)
    reproducing.show(reproduction)
    return 1 if reproduction.verdict == "different" else 0
