"""`runwright push`: a model, an export or a data set to the hub or into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from runwright.errors import ConfigError

USAGE = """runwright push [options] [--to OWNER/NAME|./FOLDER] RUN|FOLDER
       runwright push [options] --to TARGET --dataset [group=option] [key=value]"""
EXAMPLES = """examples:
  runwright push latest --to me/reviews  the best model, private; it asks first
  runwright push ./export --to me/reviews --public --revision int8 --yes
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
    add("--revision", metavar="BRANCH", help="a branch, made where there is none; default: main")
    add("--yes", action="store_true", help="do not ask")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    if args.dataset == (len(args.run) == 1 and "=" not in args.run[0]):
        expected = "overrides with --dataset" if args.dataset else "one run or folder"
        raise ConfigError(f"given {' '.join(args.run) or 'nothing'}, expected {expected}")
    with TemporaryDirectory(prefix="runwright-push-") as folder:
        if not args.dataset:
            return _push(args, *_model_of(args))
        if args.to is None:
            raise ConfigError("--to: given nothing, expected OWNER/NAME on the hub or ./FOLDER")
        from runwright.runs.card import write_dataset

        write_dataset(args.run, Path(folder), allow_shadow=args.allow_shadow)
        return _push(args, Path(folder), args.to)


def _model_of(args: argparse.Namespace) -> tuple[Path, str]:
    """The folder of the model, and where it goes."""
    from runwright.runs.folder import BEST_MODEL, CONFIG_FILE, RUN_FILE, read_config, resolve_run
    from runwright.store import local_path

    folder, target = local_path(args.run[0]), args.to
    if not folder.is_dir() or (folder / RUN_FILE).is_file():
        run = resolve_run(args.run[0], output_dir=args.output_dir, needs=BEST_MODEL)
        target = target or read_config(run / CONFIG_FILE).get("hub", {}).get("repo")
        folder = run / "best"
    if not folder.is_dir():
        raise ConfigError(f"{folder}: given a run without a best model, expected one that has finished")
    if target is None:
        raise ConfigError("--to: given nothing, nor hub.repo in the run; expected OWNER/NAME or ./FOLDER")
    return folder, target


def _push(args: argparse.Namespace, folder: Path, target: str) -> int:
    from runwright.store import local_path
    from runwright.tracker import hub

    is_local = hub.is_folder(target)
    upload = hub.choose_files(folder, also=args.include, is_dataset=args.dataset)
    for name, size in upload.sizes.items():
        print(f"{size:15,}  {name}")
    print(f"{sum(upload.sizes.values()):15,}  bytes in {len(upload.sizes)} files")
    if upload.left_out:
        print(f"left out: {', '.join(upload.left_out)}")
    if is_local:
        print(f"copied to {hub.copy(upload, local_path(target))}")
        return 0
    is_there = hub.has_repository(target, private=not args.public, repo_type=upload.repo_type)
    seen = "public" if args.public else "private"
    print(f"to: {target} on the hub, {seen}, {'' if is_there else 'a new '}{upload.repo_type} repository")
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError("given no --yes, expected it where nobody can be asked")
        if input("push? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was sent")
            return 1
    options = {"message": args.message, "revision": args.revision}
    print(hub.push(upload, target, private=not args.public, **options))
    return 0
