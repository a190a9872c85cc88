"""`runwright runs`: list and sort the runs in `outputs/`."""

import argparse

from runwright.cli.flags import print_json

STATUSES = ("CREATED", "RUNNING", "FINISHED", "FAILED", "KILLED", "PRUNED", "DIED")
USAGE = "runwright runs [options]"
EXAMPLES = """examples:
  runwright runs          all, the newest last, with their metrics
  runwright runs --name vader --status FINISHED --sort test/pearson
  runwright runs --json | jq -r '.[] | select(.metrics["test/f1"] > 0.8).folder'

KEY is a metric (test/pearson), a setting (optimizer.lr) or one of id, name,
status, started, seconds, step, overrides, folder.
DIED is a run that says it is at work and is not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--name", action="append", default=[], metavar="NAME", help="of the experiment")
    add("--status", action="append", default=[], choices=STATUSES, help="may be repeated")
    add("--sort", metavar="KEY", help="rising; default: by start")
    add("--json", action="store_true", help="for other programs")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    from runwright.analysis.runs import print_rows, read_rows, sort

    rows = [row for row in read_rows(args.output_dir) if not args.name or row.name in args.name]
    rows = [row for row in rows if not args.status or row.status in args.status]
    if args.sort:
        rows = sort(rows, args.sort)
    if args.json:
        print_json([row.as_json() for row in rows])
    elif rows:
        print_rows(rows, by=args.sort)
    else:
        print("no such runs" if args.name or args.status else f"no runs in {args.output_dir} yet")
    return 0
