"""`runwright train`: compose, check, make the run's folder, run it."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from runwright.commands.flags import add_permission_flags, grant_permissions
from runwright.environment import check_num_processes, is_restart, rank, started_from_outside
from runwright.launch import launch, needs_workers
from runwright.resuming import adopt, change_config, find_unfinished, record_resume
from runwright.root_options import LaunchOptions
from runwright.run_folder import CONFIG_FILE, RUN_FILE, create, read_config, resolve_run
from runwright.run_lock import run_lock
from runwright.workers.main import die_with_parent

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
  runwright train experiment=vader resume=auto            the same, or a new run where there is none
  runwright train experiment=vader launch.num_processes=2 two processes, the same numbers
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
        "--resume",
        metavar="RUN",
        help="go on with this run (folder, id, latest, latest:NAME; auto: resume=auto)",
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
    if started_from_outside():
        return _join_others(args, overrides)
    folder = _choose_folder(args, overrides)
    config = read_config(folder / CONFIG_FILE)
    options = LaunchOptions(**config["launch"])
    with run_lock(folder) as lock:
        if needs_workers(options):
            return launch(folder, options, num_threads=config["trainer"]["num_threads"], lock=lock)
        from runwright.execute import execute as execute_run

        execute_run(folder)
    return 0


def _join_others(args: argparse.Namespace, overrides: list[str]) -> int:
    """Execute as one of the processes of torchrun or `accelerate launch`; the first one composes."""
    from contextlib import nullcontext

    die_with_parent(signal.SIGTERM)  # stopped in good order where the launcher is killed
    # Before torch is imported: a wrong configuration costs nothing here either.
    folder = _choose_folder(args, overrides) if rank() == 0 else None
    if folder is not None:
        check_num_processes(read_config(folder / CONFIG_FILE)["launch"]["num_processes"])
    with run_lock(folder) if folder else nullcontext():
        from runwright.execute import execute as execute_run
        from runwright.processes import share_folder

        execute_run(share_folder(folder))
    return 0


def _choose_folder(args: argparse.Namespace, overrides: list[str]) -> Path:
    """The folder of the run to begin or to go on with."""
    if args.resume == "auto":
        return _new_folder(args, [*overrides, "resume=auto"])
    if args.resume:
        return _folder_of_run(args, overrides)
    if args.resolved:
        return _folder_of_resolved(args.resolved)
    return _new_folder(args, overrides)


def _folder_of_run(args: argparse.Namespace, overrides: list[str]) -> Path:
    folder = resolve_run(args.resume)
    with run_lock(folder):
        if overrides:
            change_config(folder, overrides, allow_shadow=args.allow_shadow)
        else:
            record_resume(folder, {})
    return folder


def _new_folder(args: argparse.Namespace, overrides: list[str]) -> Path:
    from runwright.compose import compose_checked

    composed = compose_checked(overrides, allow_shadow=args.allow_shadow)
    goes_on = composed.config["resume"] == "auto" or is_restart()
    earlier = find_unfinished(composed.config) if goes_on else None
    if earlier is None:
        return create(composed.config, overrides=composed.overrides, command=sys.argv)
    with run_lock(earlier):
        adopt(earlier, composed.config)
    print(f"going on with {earlier}", file=sys.stderr)
    return earlier


def _folder_of_resolved(file: Path) -> Path:
    """The run folder around the file; where there is none yet, a new one."""
    from runwright.mistakes import raise_if_any
    from runwright.schema import check

    config = read_config(file)
    raise_if_any(check(config))
    if (file.parent / RUN_FILE).is_file():
        return file.parent.resolve()
    return create(config, overrides=(), command=sys.argv)
