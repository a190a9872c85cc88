"""`runwright convert`: the pickled weights of a model as safetensors."""

import argparse

USAGE = "runwright convert NAME"
EXAMPLES = """examples:
  runwright convert ./old-model    a folder with pytorch_model.bin
  runwright convert owner/name     the same on a hub

Read once, by a loader that makes tensors alone; NAME works everywhere then."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="folder, package:NAME/folder or hub name")


def execute(args: argparse.Namespace) -> int:
    from runwright.tokenizer.pretrained import convert

    print(f"{args.name}: converted, in {convert(args.name)}")
    return 0
