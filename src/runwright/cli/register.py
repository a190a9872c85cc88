"""`runwright register`: the best model of a run as a version of a registered model of MLflow."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runwright.errors import ConfigError

if TYPE_CHECKING:
    from runwright.tracker.mlflow.upload import Uploader

# MLflow takes more; `.` first, quotes and slashes only make trouble. `latest` and `v1` have a meaning there.
NAME, ALIAS = r"[\w\- ][\w.\- ]*", r"(?!v\d+$)(?!latest$)[\w\-]+"
USAGE = "runwright register [options] --name NAME RUN"
EXAMPLES = """examples:
  runwright register latest --name reviews
  runwright register 1a2b3c --name reviews --alias champion

What MLflow lacks of the run is uploaded first. A run that is registered already
keeps its version; an alias is moved whatever it was at: see promote."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="folder, id, latest or latest:NAME")
    add("--name", metavar="NAME", required=True, help="of the registered model")
    add("--alias", metavar="ALIAS", help="it goes to this version: models:/NAME@ALIAS")
    add("--uri", metavar="ADDRESS", help="another store than the run was tracked to")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    with run_in_store(args) as (_, uploader):
        from runwright.tracker.mlflow.tracker import register

        version = register(uploader, args.name, alias=args.alias)
    print(f"models:/{args.name}/{version}" + (f" models:/{args.name}@{args.alias}" if args.alias else ""))
    return 0


@contextmanager
def run_in_store(args: argparse.Namespace) -> Iterator[tuple[Path, Uploader]]:
    """The folder of the run, and its uploader; raises ConfigError for names that MLflow does not take."""
    if not re.fullmatch(NAME, args.name) or (args.alias and not re.fullmatch(ALIAS, args.alias)):
        asked = " and ".join(filter(None, (args.name, args.alias)))
        raise ConfigError(
            f"--name and --alias: given {asked!r}, expected letters, digits, _ and -, in a name also dots "
            "and spaces; an alias is not `latest` or a version such as v1"
        )
    from runwright.runs.folder import EXPORT_FILE, RUN_FILE, read_saved, resolve_run
    from runwright.store import local_path
    from runwright.tracker.mlflow.tracker import connected

    path = local_path(args.run)
    is_export = (path / EXPORT_FILE).is_file()
    if is_export or ((path / "config.json").is_file() and not (path / RUN_FILE).is_file()):
        kind = "an export" if is_export else "a model's folder"
        raise ConfigError(f"{args.run}: {kind} cannot be registered: name its run")

    folder = resolve_run(args.run, output_dir=args.output_dir, needs_model=True)
    output_dir = Path(read_saved(folder)["output_dir"]).expanduser()
    with connected(folder, uri=args.uri, output_dir=output_dir) as uploader:
        yield folder, uploader
