"""`runwright config show`: a composed configuration."""

import argparse
import sys
from typing import Any

from runwright.errors import ConfigError, did_you_mean, listed, raise_if_any, shown

USAGE = "runwright config show [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright config show experiment=vader
  runwright config show --resolve --package trainer experiment=vader"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("show",), help="what to do")
    parser.add_argument("--resolve", action="store_true", help="interpolations as values")
    parser.add_argument("--package", "-p", metavar="KEY", help="only this part of it")


def execute(args: argparse.Namespace) -> int:
    """Print the composed configuration as YAML. Raises ConfigError with its mistakes."""
    from omegaconf import OmegaConf

    from runwright.config.compose import compose
    from runwright.config.redaction import redact

    composed = compose(args.overrides, allow_shadow=args.allow_shadow)
    raise_if_any([m for m in composed.mistakes if args.resolve or not m.given.startswith("???")])
    config: Any = redact(composed.config if args.resolve else composed.unresolved)
    for name in args.package.split(".") if args.package else []:
        items = {str(key): item for key, item in enumerate(config)} if isinstance(config, list) else config
        if not isinstance(items, dict) or name not in items:
            names = list(items) if isinstance(items, dict) else []
            raise ConfigError(
                f"--package {args.package}: given {name!r}, expected one of "
                f"{listed(names) or 'nothing deeper'}; {did_you_mean(name, names)}".rstrip("; ")
            )
        config = items[name]
    text = shown(config)
    if isinstance(config, dict | list):
        header = f"# @package {args.package}\n" if args.package else ""
        text = header + OmegaConf.to_yaml(OmegaConf.create(config)).rstrip()
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "yaml", background_color="default"))
    else:
        print(text)
    return 0
