"""`runwright compare`: differences between runs, and significance tests of their metrics."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from runwright.cli.flags import print_json
from runwright.errors import ConfigError

if TYPE_CHECKING:
    from runwright.analysis.compare.verdict import Verdict

USAGE = "runwright compare [options] RUN[,RUN …] RUN[,RUN …] …"
EXAMPLES = """examples:
  runwright compare 1a2b3c 4d5e6f  two runs on the same rows: a paired bootstrap
  runwright compare latest:small latest:large latest:huge  the first and others
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
    add("--confidence", type=float, default=0.95, metavar="C", help="of the intervals; default: 0.95")
    add("--groups", action="store_true", help="metrics of groups of rows as well")
    add("--fail-if-worse", action="store_true", help="exit code 1 where a side is worse than the first")
    add("--json", action="store_true", help="for other programs")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    references = args.run
    if len(references) < 2:
        raise ConfigError(f"given {references[0]!r} alone, expected at least two runs")
    if not 0 < args.confidence < 1:
        raise ConfigError(f"--confidence: given {args.confidence}, expected a number between 0 and 1")
    from runwright.analysis.compare.sides import differing_settings, find_sides
    from runwright.analysis.compare.verdict import judge, print_comparison

    sides = find_sides(references, output_dir=args.output_dir)
    settings = differing_settings(sides)
    verdicts = [judge(sides[0], side, confidence=args.confidence) for side in sides[1:]]
    is_bad = any(verdict.main is None or verdict.main.better == 0 for verdict in verdicts)
    code = int(args.fail_if_worse and is_bad)  # what cannot be tested is not known to be no worse
    if args.json:
        record = {"sides": {side.letter: [row.as_json() for row in side.rows] for side in sides}}
        print_json(record | {"settings": settings, "verdicts": [*map(_as_json, verdicts)]})
        return code
    print_comparison(sides, settings, verdicts, with_groups=args.groups)
    return code


def _as_json(verdict: Verdict) -> dict[str, Any]:
    better = verdict.main.better if verdict.main else None
    return {
        "letters": verdict.letters,
        "words": verdict.words,
        "better": None if better is None else verdict.letters[better],
        "differences": [difference.as_json() for difference in verdict.differences],
        "notes": verdict.notes,
    }
