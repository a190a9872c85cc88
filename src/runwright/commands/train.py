"""`runwright train`: compose, check, make the run's folder, run it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from runwright.commands.flags import add_permission_flags, grant_permissions

SUMMARY = "Train a model: compose an experiment from configuration, check all of it, run it."
EXAMPLES = """examples:
  runwright train experiment=vader                        a shipped experiment (conf/experiment/)
  runwright train experiment=vader optimizer.lr=1e-4 name=warmer
  runwright train optimizer=sgd 'metric=[accuracy,f1_macro]'
  runwright train dataset=csv dataset.source.files.train=reviews.csv task.label_column=stars
  runwright train experiment=vader debug=five_steps       does it run at all?
  runwright train experiment=vader --cfg job              what would run
  runwright train -m experiment=vader optimizer.lr=1e-5,3e-5 seed=1,2
                                                          four runs, each a new process
  runwright train --resume latest:vader                   go on where a run was stopped
  runwright train -m seed=1,2 hydra/launcher=joblib hydra.launcher.n_jobs=2

group=option chooses a file of conf/ (shipped, or your own ./conf), key=value sets a value, ++key=value adds
one, ~group leaves a group out. Tab completion: runwright completion --help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.usage = "runwright train [options] [group=option] [key=value]"
    parser.epilog = EXAMPLES
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="one run for each combination of values"
    )
    parser.add_argument(
        "--cfg",
        "-c",
        choices=("job", "hydra", "all"),
        help="print the composed configuration (or Hydra's own) and stop",
    )
    parser.add_argument("--resolve", action="store_true", help="with --cfg: interpolations as values")
    parser.add_argument("--package", "-p", metavar="KEY", help="with --cfg: only this part of it")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with this run (folder, id, latest, latest:NAME)"
    )
    parser.add_argument(
        "--resolved",
        metavar="FILE",
        type=Path,
        help="run this resolved config.yaml as it is (workers and sweeps do)",
    )
    add_permission_flags(parser)


def execute(args: argparse.Namespace, overrides: list[str]) -> int:
    """Run one experiment, or many."""
    grant_permissions(args)
    if args.cfg == "job":
        from runwright.show import show

        return show(
            overrides,
            resolve=args.resolve,
            package=args.package,
            allow_shadow=args.allow_shadow,
            highlight=False,
        )
    if args.cfg or args.multirun:
        from runwright.multirun import run_hydra

        return run_hydra(
            overrides,
            multirun=args.multirun,
            cfg=args.cfg,
            resolve=args.resolve,
            allow_shadow=args.allow_shadow,
        )
    if args.resume:
        folder = _folder_of_run(args.resume, overrides)
    elif args.resolved:
        folder = _folder_of_resolved(args.resolved)
    else:
        folder = _new_folder(args, overrides)
    from runwright.execute import execute as execute_run

    execute_run(folder)
    return 0


def _folder_of_run(reference: str, overrides: list[str]) -> Path:
    from runwright.errors import ConfigError
    from runwright.run_folder import resolve_run

    if overrides:
        raise ConfigError(
            f"{overrides[0]}: given with --resume, expected none: a run goes on with its own configuration"
        )
    return resolve_run(reference)


def _new_folder(args: argparse.Namespace, overrides: list[str]) -> Path:
    from runwright.compose import compose_checked
    from runwright.run_folder import create

    composed = compose_checked(overrides, allow_shadow=args.allow_shadow)
    return create(composed.config, overrides=composed.overrides, command=sys.argv)


def _folder_of_resolved(file: Path) -> Path:
    """The run folder around the file; where there is none yet, a new one."""
    from runwright.mistakes import raise_if_any
    from runwright.run_folder import RUN_FILE, create, read_config
    from runwright.schema import check

    config = read_config(file)
    raise_if_any(check(config))
    if (file.parent / RUN_FILE).is_file():
        return file.parent.resolve()
    return create(config, overrides=(), command=sys.argv)
