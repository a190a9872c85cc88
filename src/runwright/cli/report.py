"""`runwright report`: a run or a sweep as one HTML page that needs no network."""

import argparse

USAGE = "runwright report [options] [RUN|SWEEP]"
EXAMPLES = """examples:
  runwright report                the newest run
  runwright report latest:vader
  runwright report latest:sweeps  the newest sweep
  runwright report outputs/sweeps/2026-01-31_12-00-00-1a2b3c

The page is report.html in the folder of the run or sweep and loads nothing from
anywhere: it can be sent by mail."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "a folder, an id, latest (default), latest:NAME or latest:sweeps"
    parser.add_argument("run", metavar="RUN|SWEEP", nargs="?", default="latest", help=help_text)
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    from runwright.runs.page import find, write_report

    folder, is_sweep = find(args.run, output_dir=args.output_dir)
    print(write_report(folder, is_sweep=is_sweep))
    return 0
