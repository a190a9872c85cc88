"""`runwright sync`: upload records of runs that MLflow lacks."""

import argparse
from pathlib import Path

from runwright.errors import ConfigError, TrackingError

USAGE = "runwright sync [options] [RUN]"
EXAMPLES = """examples:
  runwright sync                          the newest run
  runwright sync latest:vader
  runwright sync --all                    every run in outputs/
  runwright sync latest --uri http://127.0.0.1:5000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, help_text = parser.add_argument, "folder, id, latest (default) or latest:NAME"
    add("run", metavar="RUN", nargs="?", default="latest", help=help_text)
    add("--all", action="store_true", help="every run in --output-dir")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")
    add("--uri", metavar="ADDRESS", help="another store than the run was tracked to")


def execute(args: argparse.Namespace) -> int:
    from runwright.runs import folder as run_folder
    from runwright.runs.states import complete_journal, look_at, mark
    from runwright.tracker.mlflow.upload import STATE_NAME

    runs = {folder.resolve(): record for folder, record in run_folder.whole_runs(args.output_dir).items()}
    tracked = [folder for folder in runs if (folder / STATE_NAME).is_file()]
    folders = tracked if args.all else [run_folder.resolve_run(args.run, output_dir=args.output_dir)]
    from runwright.tracker.mlflow.tracker import sync

    if args.all and not folders:
        print(f"no tracked runs in {args.output_dir}")
    failed: list[str] = []
    for folder in folders:
        try:
            record = run_folder.read_run(folder)
            if original := run_folder.find_copies(runs | {folder: record}).get(folder):
                print(f"{folder}: not sent, since it is a copy of {original}")
                continue
            if death := look_at(folder):
                mark(death)
            complete_journal(folder)
            config = run_folder.read_config(folder / run_folder.CONFIG_FILE)
            config = run_folder.seen_from_here(folder, config)
            num_sent = sync(folder, uri=args.uri, output_dir=Path(config["output_dir"]).expanduser())
            print(f"{folder}: {num_sent} records sent")
        except (TrackingError, ConfigError) as error:
            if not args.all:
                raise
            failed.append(f"{folder}: {error}")
    if failed:
        raise TrackingError("\n".join(failed))
    return 0
