"""`runwright bench`: speed against named baselines, measured by scripts/benchmark.py."""

import argparse
import sys
from importlib import import_module
from types import ModuleType

from runwright.config.folders import shipped_folder

EXAMPLES = """examples:
  runwright bench --quick --json speed.json   the main parts, some minutes
  runwright bench training --override experiment=stsb \\
      --override dataset.source.folder=PATH
  runwright bench scale --rows 10000 100000 --plot scale.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _benchmark().add_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    return _benchmark().execute(args)


def _benchmark() -> ModuleType:
    if (scripts := str(shipped_folder("scripts"))) not in sys.path:
        sys.path.insert(0, scripts)
    return import_module("benchmark")
