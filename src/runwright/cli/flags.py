"""Flags that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError
from runwright.types import HYPOTHESIS

if TYPE_CHECKING:
    from runwright.inference.named import Named


def add_permission_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("permissions").add_argument
    help_text = (
        "a configuration may name classes and functions of this package of yours (may be repeated; "
        "always: packages in [tool.runwright] of ./pyproject.toml)"
    )
    add("--allow-package", metavar="NAME", action="append", default=[], help=help_text)
    help_text = "code that comes with a model, data set or metric may run; recorded with the run"
    add("--trust-remote-code", action="store_true", help=help_text)
    help_text = "a file in ./conf may replace a shipped one of the same name"
    add("--allow-shadow", action="store_true", help=help_text)


PROCESSES: Any = {"metavar": "N", "type": int, "help": "share the work; started again it goes on"}
READING = ("format_name", "delimiter", "encoding")


def add_reading_flags(parser: argparse.ArgumentParser, *, of: str = "") -> None:
    """Add the flags of READING, which say how a file is read."""
    choices = ("csv", "tsv", "jsonl", "text", "parquet")
    help_text = f"{of}of the input; default: as in training, or as its ending says"
    parser.add_argument("--format", dest="format_name", choices=choices, help=help_text)
    help_text = f"{of}of csv and tsv, or its name, as semicolon; default: as in training, else comma and tab"
    parser.add_argument("--delimiter", metavar="CHARACTER", help=help_text)
    help_text = f"{of}of the file; default: UTF-8 where it is, else as in training"
    parser.add_argument("--encoding", metavar="NAME", help=help_text)


def require_at_least(args: argparse.Namespace, **bounds: int) -> None:
    for name, bound in bounds.items():
        value = getattr(args, name)
        if value is not None and not value >= bound:  # NaN neither
            raise ConfigError(f"--{name.replace('_', '-')}: given {value}, expected at least {bound}")


def refuse_idle(args: argparse.Namespace, **actions: tuple[str, ...]) -> None:
    """Raise ConfigError for a flag that `args.action` passes over, given the actions that use each flag."""
    for name, using in actions.items():
        if getattr(args, name) and args.action not in using:
            expected = f"expected without: it is of {' and '.join(using)}"
            raise ConfigError(f"{_typed(name)}: given with {args.action}, {expected}")


def refuse_beside(args: argparse.Namespace, name: str, *idle: str) -> None:
    """Raise ConfigError for a flag that is given beside one which passes it over."""
    if getattr(args, name) and (given := [_typed(other) for other in idle if getattr(args, other)]):
        raise ConfigError(f"{given[0]}: given with {_typed(name)}, expected one of them alone")


def _typed(name: str) -> str:
    """A flag as it is typed."""
    others = {"format_name": "--format", "settings": "--set", "texts": "TEXT", "run": "RUN"}
    return others.get(name, f"--{name.replace('_', '-')}")


def shares_work(args: argparse.Namespace) -> bool:
    """Return True for --num-processes, or where torchrun started several; raises ConfigError."""
    from runwright.trainer.environment import world_size

    require_at_least(args, num_processes=1)
    if (shares := args.num_processes is not None or world_size() > 1) and args.logits:
        raise ConfigError("--logits: given with several processes, expected one, without --num-processes")
    return shares


def print_json(value: object) -> None:
    """Print a value as indented JSON, with null for NaN and infinity."""
    import json

    from runwright.report.tables import strict

    print(json.dumps(strict(value), indent=1, ensure_ascii=False))


def add_zero_shot_flags(parser: argparse.ArgumentParser) -> None:
    title = "zero-shot classification, with a run of pairs such as MNLI's"
    add = parser.add_argument_group(title).add_argument
    add("--labels", metavar="A,B,C", help="classes to choose from; the run need not know them")
    help_text = f"what a class says of a text, {{}} stands for the class; default: {HYPOTHESIS!r}"
    add("--hypothesis", metavar="SENTENCE", help=help_text)


def add_strategy_flags(parser: argparse.ArgumentParser, *, about: str = "") -> argparse._ArgumentGroup:
    """Add the flags that say how texts are generated; returns their group."""
    group = parser.add_argument_group(f"texts of a run that generates them{about}")
    group.add_argument("--generation", metavar="NAME", help="greedy, beam, …; default: as in training")
    options: Any = {"dest": "settings", "metavar": "KEY=VALUE", "action": "append", "default": []}
    help_text = "an option of generation, such as max_new_tokens=50 (may be repeated)"
    group.add_argument("--set", **options, help=help_text)
    return group


def generation_overrides(args: argparse.Namespace) -> list[str]:
    for text in args.settings:
        if "=" not in text:
            raise ConfigError(f"--set: given {text!r}, expected KEY=VALUE, such as max_new_tokens=50")
    choice = [f"generation={args.generation}"] if args.generation else []
    others = ("task.", "tokenizer.", "model.")  # of a model by name
    return [*choice, *(text if text.startswith(others) else f"generation.{text}" for text in args.settings)]


def add_name_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("a model by name").add_argument
    help_text = "a name of conf/task, or of transformers' pipelines; default: by its architecture"
    add("--task", metavar="TASK", help=help_text)
    add("--dtype", choices=("fp32", "bf16", "fp16"), help="of the weights (default: fp32)")
    add("--allow-new-weights", action="store_true", help="a head that the model lacks may be random")


def source_of(args: argparse.Namespace) -> Path | Named:
    """The run, or the model by name, that RUN stands for."""
    from runwright.inference.named import Named, find_model

    states = {name: getattr(args, name, None) for name in ("features", "layer")}  # of predict
    if states["features"] is None and states["layer"] is not None:
        raise ConfigError("--layer: given without --features, expected --features token or pooled as well")
    options = {"dtype": args.dtype or "fp32", "new_weights": args.allow_new_weights, **states}
    return find_model(Named(name=args.run, task=args.task, **options))
