"""`runwright validate`: every mistake in a configuration, before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from runwright.cli.flags import add_permission_flags, grant_permissions
from runwright.config.options import TARGET
from runwright.config.schema import nodes_of
from runwright.config.signature import Signature
from runwright.config.sources import resolve_source
from runwright.config.targets import GROUPS, bind, check_target, locate, objects_for
from runwright.errors import ConfigError

USAGE = "runwright validate [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright validate  the defaults
  runwright validate experiment=vader optimizer.lr=1e-4
  runwright validate --deep experiment=vader
      # imports every target and reads the data as well

All mistakes are shown at once (beyond nine, a count). Exit code 0: right; 2:
not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deep",
        action="store_true",
        help="import and bind every target to its real signature and read the data (seconds)",
    )
    add_permission_flags(parser)


def execute(args: argparse.Namespace) -> int:
    """Check and say what was chosen."""
    grant_permissions(args)
    from runwright.config.compose import compose_checked

    composed = compose_checked(args.overrides, allow_shadow=args.allow_shadow)
    if args.deep:
        for line in check_deeply(composed.config):
            print(line)
    from runwright.config.compose import summarize

    print(f"right: {summarize(composed)}")
    if not args.deep:
        print("columns are checked when the data is read: runwright validate --deep reads it now")
    return 0


def check_deeply(config: dict[str, Any]) -> Iterator[str]:
    """Lines on what is right, in order; raises ConfigError or DataError at what is not."""
    mistakes: list[str] = []
    nodes = list(nodes_of(config))
    for key, node, nested in nodes:
        group = key.partition(".")[0]
        options = {name: value for name, value in node.items() if name not in (TARGET, *GROUPS[group].notes)}
        try:
            target = locate(node[TARGET], group=group, key=f"{key}.{TARGET}")
            signature = check_target(node[TARGET], key=key, group=group)
            assert isinstance(signature, Signature)
            objects = objects_for(signature, group, GROUPS[group].objects, nested=nested)
            bind(target, signature.objects if objects is None else objects, options, key=key)
        except ConfigError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise ConfigError(*mistakes)
    yield f"targets: {len(nodes)} imported and bound"
    for group in ("tokenizer", "model"):
        name = config[group].get("name")
        if isinstance(name, str):
            yield f"{group}: {name} is {resolve_source(name)}"
    from runwright.build import build_task, fit_task, load_data
    from runwright.tokenizer.trained import stand_in

    data = load_data(config)
    sizes = ", ".join(f"{split} {len(rows)} rows" for split, rows in data.splits.items())
    yield f"data: {sizes}"
    fit_task(build_task(config, stand_in()), data)  # no task needs its tokenizer before it encodes
    rows = "rows" if data.stream is None else "first rows of the stream"
    yield f"task: the {rows} have the columns that it reads, and labels that it can use"
