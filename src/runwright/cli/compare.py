"""`runwright compare`: differences between runs, and significance tests of their metrics."""

import argparse

from runwright.errors import ConfigError

USAGE = "runwright compare [options] RUN[,RUN …] RUN[,RUN …]"
EXAMPLES = """examples:
  runwright compare 1a2b3c 4d5e6f  two runs on the same rows: a paired bootstrap
  runwright compare 1a2b3c,2b3c4d,3c4d5e 4d5e6f,5e6f7a,6f7a8b
      # three seeds on either side: Welch's test
  runwright compare champion candidate --fail-if-worse  for CI: exit code 1
  runwright compare name:small name:large  all finished runs of two experiments

RUN is a folder, an id, latest or latest:NAME; runs with commas between them, or
name:NAME, count as one side. An interval that holds 0 means that no difference
can be told."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", nargs="+", help="a run, several with commas, or name:NAME")
    add("--fail-if-worse", action="store_true", help="exit code 1 where the second is worse than the first")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    if len(args.run) != 2:
        raise ConfigError(f"given {' '.join(args.run)}, expected two runs, or two sides of several runs")
    from runwright.analysis.compare.sides import find_sides
    from runwright.analysis.compare.verdict import judge, print_comparison

    first, second = find_sides(args.run, output_dir=args.output_dir)
    verdict = judge(first, second)
    print_comparison(first, second, verdict)
    # What cannot be tested is not known to be no worse.
    return int(args.fail_if_worse and (verdict.main is None or verdict.main.better == 0))
