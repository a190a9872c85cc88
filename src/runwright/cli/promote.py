"""`runwright promote`: move the alias of a registered model to a run that is better on the same rows."""

import argparse

from runwright.cli import register
from runwright.errors import ConfigError

USAGE = "runwright promote [options] --name NAME RUN"
EXAMPLES = """examples:
  runwright promote latest --name reviews
  runwright promote 1a2b3c --name reviews --alias production

The run at the alias and this one are compared on the rows that both predicted,
as `compare` does it; the alias moves where the interval says that this one is
better, and where nothing has the alias yet (default: champion). Otherwise the
exit code is 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    register.add_arguments(parser)
    parser.set_defaults(alias="champion")


def execute(args: argparse.Namespace) -> int:
    with register.run_in_store(args) as (folder, uploader):
        from runwright.tracker.mlflow.tracker import find_alias
        from runwright.tracker.mlflow.tracker import register as make_version

        run_id = find_alias(uploader, args.name, args.alias)
        if run_id not in (None, uploader.target.run_id):
            from runwright.analysis.compare.sides import find_sides
            from runwright.analysis.compare.verdict import judge, print_comparison

            try:
                champion, candidate = find_sides([run_id, str(folder)], output_dir=args.output_dir)
            except ConfigError as error:
                raise ConfigError(f"models:/{args.name}@{args.alias} is at a {error}") from error
            verdict = judge(champion, candidate)
            print_comparison(champion, candidate, verdict)
            if verdict.main is None or verdict.main.better != 1:
                print(f"models:/{args.name}@{args.alias} stays where it is")
                return 1
        version = make_version(uploader, args.name, alias=args.alias)
    print(f"models:/{args.name}@{args.alias} is version {version} now")
    return 0
