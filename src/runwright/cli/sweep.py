"""`runwright sweep`: how a sweep stands, its best trial as an experiment, or let it end."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runwright.config.folders import ConfFolders

USAGE = "runwright sweep [options] {status,best,stop} [NAME]"
EXAMPLES = """examples:
  runwright train -m experiment=vader sweep=lr_search   begin, or go on
  runwright sweep status                  the newest sweep: trials, best first
  runwright sweep best vader-lr_search    write conf/experiment/<name>_best.yaml
  runwright sweep stop vader-lr_search    trials that run end; no further begins

NAME is the name or folder of a sweep."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", choices=("status", "best", "stop"))
    add("name", metavar="NAME", nargs="?", default="latest:sweeps", help="default: the newest")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    from runwright.errors import ConfigError, listed
    from runwright.report.terminal import mean_text
    from runwright.runs.page import find, print_table, read_jobs, settings_of, sharing_note
    from runwright.store import read_json
    from runwright.sweep.options import STOP_FILE, STUDY_FILE

    names = listed(sorted(sweep.name for sweep in Path(args.output_dir).expanduser().glob("sweeps/*/")))
    problem = f"{args.name}: given no sweep, expected one of: {names or 'none yet'}"
    try:
        folder, is_sweep = find(args.name, output_dir=args.output_dir)
    except ConfigError as error:
        raise ConfigError(problem) from error
    if not is_sweep:
        raise ConfigError(problem)
    file = folder / STUDY_FILE
    if args.action == "stop":
        if not file.is_file():
            raise ConfigError(f"{folder}: given a multirun without a study, which Ctrl-C ends")
        (folder / STOP_FILE).touch()  # its drivers look for it
        print(f"{folder}: no further trial begins; the same command as before goes on")
        return 0
    jobs = read_jobs(folder)
    if args.action == "status":
        study = read_json(file)
        seeds = sum(len(s) - 1 for s in settings_of(jobs).values()) if study.get("seeds", 1) > 1 else 0
        # A trial that takes up the run of an interrupted one begins its log with the same folder.
        logs = (file.read_text(errors="replace") for file in folder.glob("*/output.txt"))
        runs = {log.partition("\n")[0].rpartition("/")[2] for log in logs}
        ended = [job.folder and job.folder.name for job in jobs if job.status != "stopped"]
        words = [f"{len(ended) - seeds} of {study.get('n_trials', len(jobs))} trials ended"]
        words += [f"{seeds} further seeds"] if seeds else []
        print(", ".join([*words, f"{len(runs - {*ended})} have begun and not ended"]))
        print_table(jobs, folder)
        return 0
    same = next(iter(settings_of(jobs).values()), [])
    if (best := min(same, key=lambda job: job.number, default=None)) is None:  # its further seeds come later
        raise ConfigError(f"{folder}: given a sweep none of whose trials has finished")
    from runwright.config.folders import find_conf_folders

    name = re.sub(r"\W+", "_", f"{folder.name}_best", flags=re.ASCII)  # Hydra takes no other one unquoted
    file = Path("conf/experiment", f"{name}.yaml")
    values = [job.metrics[best.metric] for job in same]
    value = f"{best.metric} {mean_text(values) if len(values) > 1 else f'{values[0]:.6g}'}"
    value += f" over {len(values)} seeds" if len(values) > 1 else sharing_note(best, jobs)
    about = f"The best of {len(jobs)} trials of {folder.name} so far, trial {best.number}: {value}"
    content = _experiment_file(best.overrides, find_conf_folders(), about=about).encode()
    last = folder / "best.yaml"  # what was written the last time: a file that differs from it was edited
    if file.exists() and file.read_bytes() not in (content, last.read_bytes() if last.is_file() else content):
        raise ConfigError(f"{file}: given a file that was edited, expected none; rename it, or remove it")
    for path in (file, last):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    print(f"{about}\n{file}\nnext: runwright train -m experiment={file.stem} seed=1,2,3")
    return 0


def _experiment_file(overrides: Sequence[str], folders: ConfFolders, *, about: str) -> str:
    """A config file over all groups, with the choices and values of a trial; `about` is its first comment.

    What the sweep's own file sets for all trials is part of it; its settings of Hydra are not.
    """
    import yaml
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from runwright.config.loading import from_yaml

    bases: list[Any] = []
    choices: list[Any] = []
    values = OmegaConf.create()
    groups = folders.groups()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if key == "sweep" and (file := folders.find(f"{key}/{value}.yaml")):
            own = dict(from_yaml(file.read_text(encoding="utf-8-sig"), str(file)))
            own.pop("hydra", None)
            defaults = own.pop("defaults", [])
            choices += [one for one in defaults if isinstance(one, dict) and "/hydra" not in str(one)]
            values = OmegaConf.merge(values, own)
        if key in ("sweep", "debug") or key.startswith("hydra"):
            continue
        if key == "experiment":
            bases.append(value)
        elif key in groups and not isinstance(value, dict):
            choices.append({f"override /{key}": None if override.is_delete() else value})
        elif not override.is_delete():
            OmegaConf.update(values, key, value, force_add=True)
    head = "".join(f"# {line}\n" for line in about.splitlines())
    defaults = yaml.safe_dump({"defaults": [*bases, *choices, "_self_"]}, sort_keys=False)
    return f"# @package _global_\n{head}{defaults}\n{OmegaConf.to_yaml(values) if values else ''}"
