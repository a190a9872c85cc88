"""`runwright convert`: the pickled weights of a model as safetensors."""

from __future__ import annotations

import argparse

USAGE = "runwright convert NAME"
EXAMPLES = """examples:
  runwright convert ./old-model    a folder with pytorch_model.bin
  runwright convert owner/name     the same on a hub

The weights are read once, by a loader that makes tensors alone, and kept in the
cache of Runwright: NAME works everywhere from then on. Nothing else unpickles."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="folder, package:NAME/folder or hub name")


def execute(args: argparse.Namespace) -> int:
    from runwright.model.convert import convert

    print(f"{args.name}: converted, in {convert(args.name)}")
    return 0
