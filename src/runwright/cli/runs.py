"""`runwright runs`: list and sort the runs in `outputs/`, or show one."""

import argparse

from runwright.cli.flags import print_json
from runwright.errors import ConfigError

STATUSES = ("CREATED", "RUNNING", "FINISHED", "FAILED", "KILLED", "PRUNED", "DIED")
USAGE = "runwright runs [options] [list]\n       runwright runs [options] show RUN"
EXAMPLES = """examples:
  runwright runs          the newest 50, with their metrics
  runwright runs --name vader --status FINISHED --sort test/pearson
  runwright runs --columns id,optimizer.lr,seed,test/f1_macro \\
      --sort optimizer.lr
  runwright runs --json | jq -r '.[] | select(.metrics["test/f1"] > 0.8).folder'
  runwright runs show latest:vader

KEY is a metric (test/pearson), a setting (optimizer.lr) or one of id, name,
status, started, seconds, step, host, device, overrides, folder.
DIED is a run that says it is at work and is not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", nargs="?", choices=("list", "show"), default="list", help="default: list")
    add("run", nargs="?", metavar="RUN", help="of show: a run folder, id, latest or latest:NAME")
    add("--name", action="append", default=[], metavar="NAME", help="of the experiment")
    add("--status", action="append", default=[], choices=STATUSES, help="may be repeated")
    add("--sort", metavar="KEY", help="rising; default: by start")
    add("--reverse", action="store_true", help="falling")
    add("--columns", metavar="KEY,…", help="what to show")
    add("--limit", type=int, default=50, metavar="N", help="the last N; 0: all; default: 50")
    add("--json", action="store_true", help="for other programs")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    if args.action == "list" and args.run:
        raise ConfigError(f"{args.run}: given a run to list, expected: runwright runs show {args.run}")
    if args.action == "show":
        return _show(args)
    from runwright.analysis.runs import default_columns, print_rows, read_rows, require_key, sort

    rows = [row for row in read_rows(args.output_dir) if not args.name or row.name in args.name]
    rows = [row for row in rows if not args.status or row.status in args.status]
    if args.sort:
        rows = sort(rows, args.sort, reverse=args.reverse)
    elif args.reverse:
        rows.reverse()
    shown = rows[-args.limit :] if args.limit else rows
    columns = [name.strip() for name in args.columns.split(",")] if args.columns else []
    for name in columns:
        require_key(name, rows)
    if args.json:
        print_json([row.as_json() | {name: row.value(name) for name in columns} for row in shown])
        return 0
    if not rows:
        print("no such runs" if args.name or args.status else "no runs yet")
        return 0
    print_rows(shown, columns or default_columns(shown, by=args.sort), num_hidden=len(rows) - len(shown))
    return 0


def _show(args: argparse.Namespace) -> int:
    from runwright.analysis.runs import facts_of, print_run, read_row
    from runwright.runs.folder import resolve_run

    folder = resolve_run(args.run or "latest", output_dir=args.output_dir)
    row = read_row(folder)
    if row is None:
        raise ConfigError(f"{folder}: given a run whose run.json cannot be read, expected a whole one")
    if args.json:
        print_json(row.as_json() | {"settings": dict(row.settings), "record": dict(row.record)})
        return 0
    from runwright.tracker.mlflow.upload import unsent_bytes

    facts = list(facts_of(row))
    for uri, unsent in unsent_bytes(folder).items():
        missing = f"{unsent:,} bytes of the journal are missing: runwright sync {folder}"
        facts.append(("MLflow", f"{uri} {missing if unsent else 'has all of it'}"))
    print_run(row, facts)
    return 0
