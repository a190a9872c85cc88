"""`runwright push`: a model, an export or a data set to the hub or into a folder."""

import argparse
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from runwright.errors import ConfigError, listed, plain

USAGE = """runwright push [options] [--to OWNER/NAME|./FOLDER] RUN|FOLDER
       runwright push [options] --to TARGET --dataset [group=option] [key=value]"""
EXAMPLES = """examples:
  runwright push latest --to me/reviews  the best model, private; it asks first
  runwright push ./export --to me/reviews-int8 --public --yes
  runwright push latest --to ./published          a local folder
  runwright push --dataset dataset=vader --to me/vader

One commit with the files of a model. Rows, predictions and whatever else is in
the folder are left out unless --include names them; a file with a secret in it
is refused. The token is that of `hf auth login`, or HF_TOKEN."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    help_text = "a run, or the folder of an export or model; with --dataset overrides"
    add("run", metavar="RUN|FOLDER", nargs="*", help=help_text)
    add("--to", metavar="TARGET", help="OWNER/NAME on the hub, or ./FOLDER; default: hub.repo of the run")
    add("--dataset", action="store_true", help="the splits of a data set as parquet files with a card")
    add("--public", action="store_true", help="everybody may see it (default: its owner alone)")
    add("--include", metavar="PATTERN", action="append", default=[], help="other files, as '*.csv'")
    add("--message", metavar="TEXT", help="of the commit")
    add("--yes", action="store_true", help="do not ask")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    if args.dataset == (len(args.run) == 1 and "=" not in args.run[0]):
        expected = "overrides with --dataset" if args.dataset else "one run or folder"
        raise ConfigError(f"given {' '.join(args.run) or 'nothing'}, expected {expected}")
    folder = None if args.dataset else _model_of(args)
    if args.to is None:
        raise ConfigError("--to: given nothing, nor hub.repo in the run; expected OWNER/NAME or ./FOLDER")
    if folder:
        return _push(args, folder)
    from runwright.runs.card import write_dataset

    with TemporaryDirectory(prefix="runwright-push-") as name:
        write_dataset(args.run, Path(name))
        return _push(args, Path(name))


def _model_of(args: argparse.Namespace) -> Path:
    """The folder of the model; where it goes, and who may see it there, is what its run says by default."""
    from runwright.runs import folder as folders
    from runwright.store import local_path

    folder = local_path(args.run[0])
    if folder.is_dir() and not (folder / folders.RUN_FILE).is_file():
        return folder
    run = folders.resolve_run(args.run[0], output_dir=args.output_dir, needs_model=True)
    if not folders.has_model(run):
        raise ConfigError(f"{run}: given a run without a best model, expected one that has finished")
    hub = folders.read_config(run / folders.CONFIG_FILE).get("hub", {})
    if args.to is None and hub.get("repo"):
        args.to, args.public = hub["repo"], args.public or not hub["private"]
    return run if (run / folders.EXPORT_FILE).is_file() else run / "best"


def _push(args: argparse.Namespace, folder: Path) -> int:
    from runwright.config.rules.table import HUB_NAME
    from runwright.store import local_path
    from runwright.tracker import hub

    is_local = args.to.startswith((".", "~", "/", "$"))
    if not is_local and not re.fullmatch(HUB_NAME, args.to):
        raise ConfigError(
            f"--to: given {args.to!r}, expected OWNER/NAME on the hub, or a folder: ./{args.to}"
        )
    upload = hub.choose_files(folder, also=args.include, is_dataset=args.dataset)
    for name, size in upload.sizes.items():
        print(f"{size:15,}  {plain(name)}")
    print(f"{sum(upload.sizes.values()):15,}  bytes in {len(upload.sizes)} files")
    if upload.left_out:
        print(f"left out: {plain(listed(upload.left_out))}")
    if is_local:
        print(f"copied to {hub.copy(upload, local_path(args.to))}")
        return 0
    seen = "public" if args.public else "private"
    print(f"to: {args.to} on the hub, a {seen} {upload.repo_type} repository")
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError("given no --yes, expected it where nobody can be asked")
        print("push? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was sent")
            return 1
    print(hub.push(upload, args.to, private=not args.public, message=args.message))
    return 0
