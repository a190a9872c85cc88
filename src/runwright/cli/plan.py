"""`runwright plan`: length, memory, disk and time of a run or a sweep, before any weight is loaded."""

import argparse

from runwright.errors import ConfigError

USAGE = "runwright plan [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright plan experiment=vader
  runwright plan experiment=vader trainer.batch_size=64 trainer.max_epochs=3
  runwright plan -m experiment=vader sweep=lr_search

Steps and tokens are those of the run, memory and disk an estimate by a model
without weights; the time is that of earlier runs of the model on this machine."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--multirun", action="store_true", help="of all trials of a sweep")


def execute(args: argparse.Namespace) -> int:
    from runwright.config.compose import compose_checked
    from runwright.dataset.readers.addresses import require_files
    from runwright.launch.worker import import_uncollected
    from runwright.report.terminal import print_facts, result_console

    if args.multirun:
        from runwright.launch.multirun import trials_of

        config, num_trials = trials_of(args.overrides)
    else:
        if sweep := next((text for text in args.overrides if text.startswith("sweep=")), None):
            raise ConfigError(f"{sweep}: given without -m, expected runwright plan -m … {sweep}")
        config, num_trials = compose_checked(args.overrides).config, None
    require_files(config["dataset"])
    plans = import_uncollected("runwright.analysis.plan")
    print_facts(plans.facts(plans.plan_of(config), num_trials=num_trials), console=result_console())
    return 0
