"""`runwright train`: compose, check, make the run's folder, run it."""

import argparse

from runwright.errors import ConfigError, raise_if_any

USAGE = "runwright train [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright train experiment=vader       a shipped experiment (conf/experiment/)
  runwright train experiment=vader optimizer.lr=1e-4 name=warmer
  runwright train dataset=csv dataset.source.files.train=reviews.csv \\
      task.label_column=stars
  runwright train experiment=vader debug=five_steps   does it run at all?
  runwright train experiment=vader --cfg job          what would run
  runwright train -m experiment=vader optimizer.lr=1e-5,3e-5 seed=1,2
      # four runs, each a new process
  runwright train --resume latest:vader         go on where a run was stopped
  runwright train experiment=vader resume=auto  the same, or a new run
  runwright train experiment=vader launch.num_processes=2

group=option chooses a file of conf/ (shipped, or your own ./conf), key=value
sets a value, ++key=value adds one, ~group leaves a group out. Tab completion:
runwright completion --help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-m", "--multirun", action="store_true", help="one run for each combination of values")
    add("--cfg", "-c", choices=("job",), help="print the composed configuration and stop")
    add("--resolve", action="store_true", help="with --cfg: interpolations as values")
    help_text = "go on with this run (folder, id, latest, latest:NAME; auto: resume=auto)"
    add("--resume", metavar="RUN", help=help_text)
    help_text = "go on with a run although its rows or classes are not those that it was trained on; recorded"
    add("--allow-changed-data", action="store_true", help=help_text)


def execute(args: argparse.Namespace) -> int:
    if args.resume and (args.multirun or args.cfg):
        raise ConfigError("--resume: given with -m or --cfg, expected without: it goes on with one run")
    if args.resolve and not args.cfg:
        raise ConfigError("--resolve: given without --cfg job, expected both")
    if args.cfg:
        return _print_config(args)
    if args.multirun:
        from runwright.launch.multirun import run_many

        return run_many(args.overrides)
    if sweep := next((text for text in args.overrides if text.startswith("sweep=")), None):
        raise ConfigError(f"{sweep}: given without -m, expected runwright train -m … {sweep}")
    from runwright.launch.start import start

    return start(args.overrides, resume=args.resume)


def _print_config(args: argparse.Namespace) -> int:
    """Print the composed configuration as YAML; without --resolve values may be missing."""
    from omegaconf import OmegaConf

    from runwright.config.compose import compose
    from runwright.config.redaction import redact

    composed = compose(args.overrides)
    raise_if_any([m for m in composed.mistakes if args.resolve or not m.given.startswith("???")])
    config = redact(composed.config if args.resolve else composed.unresolved)
    print(OmegaConf.to_yaml(OmegaConf.create(config)), end="")
    return 0
