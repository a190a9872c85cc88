"""`runwright config`: a composed configuration, the difference between two, a schema of all."""

from __future__ import annotations

import argparse

from runwright.cli.flags import print_json
from runwright.errors import ConfigError

USAGE = "runwright config {show,diff,schema} [options] [key=value | A B]"
EXAMPLES = """examples:
  runwright config show experiment=vader
  runwright config show --resolve --package trainer experiment=vader
  runwright config diff "experiment=vader" "experiment=vader_classes"
  runwright config diff "" "optimizer=sgd"               against the defaults
  runwright config diff latest:vader outputs/vader/2026-01-31_12-00-00-1a2b3c
  runwright config diff one/config.yaml other/config.yaml
  runwright config schema > .vscode/schemas/config.json
      # JSON Schema of experiment files; $defs has one for each group

Lines of diff: '~' changed, '+' only in the second, '-' only in the first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("show", "diff", "schema"), help="what to do")
    parser.add_argument("--resolve", action="store_true", help="show: interpolations as values")
    parser.add_argument("--package", "-p", metavar="KEY", help="show: only this part of it")


def execute(args: argparse.Namespace) -> int:
    from runwright.cli.show import diff, show

    words = args.overrides
    if args.action == "schema":
        from runwright.config.folders import find_conf_folders
        from runwright.config.json_schema import json_schema

        print_json(json_schema(find_conf_folders()))
        return 0
    if args.action == "show":
        return show(words, resolve=args.resolve, package=args.package, allow_shadow=args.allow_shadow)
    if len(words) != 2:
        raise ConfigError(
            f"runwright config diff: given {len(words)} arguments, expected two: each a quoted set of "
            'overrides ("seed=1 optimizer=sgd"), a config file or a run'
        )
    lines = diff(*words, allow_shadow=args.allow_shadow)
    print("\n".join(lines) or "no difference")
    return 0
