"""`runwright sync`: upload records of runs that MLflow lacks."""

from __future__ import annotations

import argparse
from pathlib import Path

USAGE = "runwright sync [options] [RUN]"
EXAMPLES = """examples:
  runwright sync                          the newest run
  runwright sync latest:vader
  runwright sync --all                    every run in outputs/
  runwright sync latest --uri http://127.0.0.1:5000

RUN is a folder, an id, latest or latest:NAME."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", default="latest", help="default: the newest run")
    parser.add_argument("--all", action="store_true", help="every run in --output-dir")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")
    parser.add_argument("--uri", help="another store than the run was tracked to")


def execute(args: argparse.Namespace) -> int:
    """Upload the missing records and print their number."""
    from runwright.errors import ConfigError, TrackingError
    from runwright.runs.folder import (
        CONFIG_FILE,
        find_copies,
        read_config,
        read_run,
        resolve_run,
        seen_from_here,
        whole_runs,
    )
    from runwright.runs.states import complete_journal, look_at, mark

    runs = {folder.resolve(): record for folder, record in whole_runs(args.output_dir).items()}
    folders = [*runs] if args.all else [resolve_run(args.run, output_dir=args.output_dir)]
    from runwright.tracker.mlflow.tracker import sync

    failed: list[str] = []
    for folder in folders:
        try:
            if original := find_copies(runs | {folder: read_run(folder)}).get(folder):
                print(f"{folder}: not sent, since it is a copy of {original}")
                continue
            if death := look_at(folder):
                mark(death)
            complete_journal(folder)
            config = seen_from_here(folder, read_config(folder / CONFIG_FILE))
            num_sent = sync(folder, uri=args.uri, output_dir=Path(config["output_dir"]).expanduser())
            print(f"{folder}: {num_sent} records sent")
        except (TrackingError, ConfigError) as error:
            if not args.all:
                raise
            failed.append(f"{folder}: {error}")
    if failed:
        raise TrackingError("\n".join(failed))
    return 0
