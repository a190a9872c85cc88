"""`runwright config`: a composed configuration, or the difference between two."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError, did_you_mean, listed, raise_if_any, shown

USAGE = "runwright config {show,diff} [options] [key=value | A B]"
EXAMPLES = """examples:
  runwright config show experiment=vader
  runwright config show --resolve --package trainer experiment=vader
  runwright config diff "experiment=vader" "experiment=vader_classes"
  runwright config diff "" "optimizer=sgd"               against the defaults
  runwright config diff latest:vader outputs/vader/2026-01-31_12-00-00-1a2b3c
  runwright config diff one/config.yaml other/config.yaml

Lines of diff: '~' changed, '+' only in the second, '-' only in the first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("show", "diff"), help="what to do")
    parser.add_argument("--resolve", action="store_true", help="show: interpolations as values")
    parser.add_argument("--package", "-p", metavar="KEY", help="show: only this part of it")


def execute(args: argparse.Namespace) -> int:
    if args.action == "show":
        return show(args, highlight=True)
    if (count := len(args.overrides)) != 2:
        raise ConfigError(
            f"runwright config diff: given {count} arguments, expected two: each a quoted set of "
            'overrides ("seed=1 optimizer=sgd"), a config file or a run'
        )
    from runwright.config.options import leaves_of
    from runwright.config.redaction import redact

    one, other = (leaves_of(redact(_side(text, args.allow_shadow))) for text in args.overrides)
    lines = [f"- {key}: {shown(value)}" for key, value in one.items() if key not in other]
    for key, value in other.items():
        if key not in one:
            lines.append(f"+ {key}: {shown(value)}")
        elif type(one[key]) is not type(value) or one[key] != value:
            lines.append(f"~ {key}: {shown(one[key])} -> {shown(value)}")
    print("\n".join(sorted(lines, key=lambda line: line[2:])) or "no difference")
    return 0


def show(args: argparse.Namespace, *, highlight: bool = False) -> int:
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
    if highlight and sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "yaml", background_color="default"))
    else:
        print(text)
    return 0


def _side(text: str, allow_shadow: bool) -> dict[str, Any]:  # noqa: FBT001 - of one use
    """A configuration from a file, a run, or overrides in one quoted argument."""
    from runwright.config.compose import compose
    from runwright.runs.folder import CONFIG_FILE, read_config, resolve_run

    path = Path(text).expanduser()
    for file in (path, path / CONFIG_FILE) if text.strip() else ():
        if file.is_file():
            return read_config(file)
    words = shlex.split(text)
    if all("=" in word or word.startswith("~") for word in words):
        composed = compose(words, allow_shadow=allow_shadow)
        raise_if_any(composed.mistakes)
        return composed.config
    return read_config(resolve_run(text) / CONFIG_FILE)
