"""The folder of a run: made by exactly one process, looked up by path, id or `latest`.

outputs/<name>/<time>-<id>/ with config.yaml (resolved), overrides.yaml and run.json (who, when, status).
"""

import glob
import json
import logging
import os
import platform
import re
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from runwright.config.options import with_values
from runwright.config.permissions import granted
from runwright.config.redaction import conceal, conceal_overrides, keep_references, redact
from runwright.errors import ConfigError, did_you_mean, listed, shown
from runwright.store import DISK_REFUSES, checksum, flatten, local_path, write_json, write_text
from runwright.version import __version__

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.yaml"
RUN_FILE = "run.json"
EXPORT_FILE = "export.json"  # in a folder that `runwright export` made of a run
# In run.json; counted up when older folders can no longer be read, as when their config lacks an option.
FORMAT = 2
ID_LENGTH = 6
LATEST = "latest"
# Keys that say where files lie; the files are compared by their content.
LOCATION_KEY = re.compile(
    r"(?:dataset|task|tokenizer|model)\.(?:.*\.)?(?:folder|files?|label_file|chat_template|path)(?:\.|$)"
)
SOURCES = ("model.name", "tokenizer.name")  # or the name of one on a hub


def has_model(folder: Path) -> bool:
    """Return True if a run's folder has the best model, or is an export of it, with what its task learned."""
    if (folder / EXPORT_FILE).is_file():
        return True
    return (folder / "best" / "config.json").is_file() and (folder / "task.json").is_file()


def create(
    config: Mapping[str, Any],
    *,
    overrides: Sequence[str],
    command: Sequence[str],
    sweep: str | None = None,
    unresolved: Mapping[str, Any] | None = None,
) -> Path:
    """A new folder that belongs to this run alone, with its configuration; references stand for secrets.

    `sweep` is the identity of the multirun that the run is a job of, `unresolved` the configuration with its
    interpolations, which a later change of a key follows.
    """
    concealed = conceal(config)
    folder, run_id, start = claim_folder(Path(config["output_dir"]).expanduser() / config["name"])
    record = {
        "format": FORMAT,
        "run_id": run_id,
        "name": config["name"],
        "status": "CREATED",
        "command": redact(list(command)),
        "overrides": conceal_overrides(overrides),
        # Of one key to another; those to the environment are resolved for good.
        "interpolations": {
            key: text
            for key, text in flatten(unresolved or {}).items()
            if isinstance(text, str) and "${" in text and ":" not in text
        },
        "start_time": start,
        **this_process(),
        "versions": {"runwright": __version__, "python": platform.python_version()},
        "permissions": asdict(granted()),
        **({"sweep": sweep} if sweep else {}),
    }
    write_config(folder, concealed)
    write_text(folder / OVERRIDES_FILE, OmegaConf.to_yaml(OmegaConf.create(record["overrides"])))
    write_json(folder / RUN_FILE, record)
    return folder.resolve()


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the resolved configuration of a run, in one step; for secrets a reference to a variable."""
    write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(conceal(config))))


def read_config(file: Path) -> dict[str, Any]:
    """A configuration from a YAML file, resolved, as plain containers.

    References to environment variables stay as they are: `secrets.reveal` puts their values in.
    """
    try:
        config = deepcopy(_from_yaml(file.read_text(encoding="utf-8")))
        if "${" in str(config):
            config = OmegaConf.to_container(OmegaConf.create(keep_references(config)), resolve=True)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        problem = f"given a file that cannot be read ({' '.join(str(error).split())})"
        raise ConfigError(f"{file}: {problem}, expected a config.yaml") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: given a {type(config).__name__}, expected a mapping of names to values")
    return {str(key): value for key, value in config.items()}


@lru_cache(maxsize=4)  # a run reads its own five times, 30 ms each
def _from_yaml(text: str) -> Any:
    return yaml.load(text, Loader=get_yaml_loader())  # noqa: S506 - a safe one, OmegaConf's own


_NUMBER: Any = int | float
_KINDS = {**dict.fromkeys(("status", "run_id", "name"), str), "overrides": list, "start_time": _NUMBER}
_KINDS |= dict.fromkeys(("interpolations", "versions", "end", "files"), dict | None)
_KINDS |= {"end_time": _NUMBER | None, "data_changes": list | None}


class DamagedRunError(ConfigError, ValueError):
    """A run.json that is not the record of a run."""


def read_run(folder: Path) -> dict[str, Any]:
    """The record of a run, which is its run.json. Raises DamagedRunError where it is none."""
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedRunError(f"{folder / RUN_FILE}: given no JSON, expected the record of a run") from error
    values = record if isinstance(record, dict) else {}
    for key, kind in _KINDS.items():
        if not isinstance(values.get(key), kind):
            given = f"{key}: {shown(values[key])}" if key in values else f"no {key}"
            expected = "the record of a run; put it right, or move its folder away"
            raise DamagedRunError(f"{folder / RUN_FILE}: given {given}, expected {expected}")
    return values


def update_status(folder: Path, status: str, **fields: Any) -> dict[str, Any]:
    """Write a new status, and other fields, into run.json in one step; returns the whole record."""
    before, file = read_run(folder), folder / RUN_FILE
    record = {**before, "status": status, **fields}
    try:
        write_json(file, record)
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise
        # A full disk: into the file as it is, where its line breaks leave room; an error may need too much.
        size = file.stat().st_size
        shorter = {**record, "files": None}, {**before, "status": status}
        texts = (json.dumps(each, default=str) for each in (record, *shorter))
        with file.open("r+") as stream:
            stream.write(next((text.ljust(size) for text in texts if len(text) <= size), ""))
    return record


# What says which model a run has and what its metrics mean; an edit by hand is noticed.
_KEPT = ("*.yaml", "*.json", "best/*.json", "tokenizer/*.json", "predictions/*.jsonl")
_CHANGING = (RUN_FILE, "mlflow.json")
_MAX_BYTES = 64 * 2**20  # of a file: read in a tenth of a second
edited: dict[Path, str] = {}  # by folder, names of such files that are not as the run left them


def checksums(folder: Path) -> dict[str, int]:
    """A checksum of each small file that a finished run, or an export, should keep as it is."""
    files = [file for pattern in _KEPT for file in folder.glob(pattern) if file.name not in _CHANGING]
    small = (file for file in files if file.stat().st_size <= _MAX_BYTES)
    return {file.relative_to(folder).as_posix(): checksum(file) for file in small}


def look_for_edits(folder: Path) -> Path:
    """The folder itself, with a warning where files are not as its run left them."""
    before = dict[str, int]()
    with suppress(OSError, DamagedRunError):
        before = read_run(folder).get("files") or before
    now = {name: total for name, total in before.items() if name.endswith(".jsonl")}  # may go, to save space
    now |= checksums(folder) if before else {}
    if names := [name for name, total in before.items() if now.get(name) != total]:
        edited[folder] = listed(names)
        logger.warning("%s: changed since the run ended: %s; results may differ", folder, edited[folder])
    return folder


def resolve_run(
    reference: str | Path, *, output_dir: str | Path = "outputs", needs_model: bool = False
) -> Path:
    """The folder of a run from its path, its id or the start of it, `latest`, or `latest:NAME`.

    The latest run is the newest one, with a best model where that is needed and any run has one.
    """
    path = local_path(str(reference))
    if (path / RUN_FILE).is_file() or (path / EXPORT_FILE).is_file():
        return look_for_edits(path.resolve())
    text, runs = str(reference), whole_runs(output_dir)
    latest, _, name = text.partition(":")
    named = [run for run in runs if not name or run.parent.name == name]
    if latest == LATEST and named:
        # A reproduction is no newer run, unless there are only such.
        newest, *older = reversed([run for run in named if "reproduces" not in runs[run]] or named)
        fitting = next(filter(has_model, [newest, *older]), newest) if needs_model else newest
        if fitting != newest:
            status = runs[newest]["status"]
            logger.warning("%s: %s (%s) has no best model; taken: %s", text, newest, status, fitting)
        return look_for_edits(fitting.resolve())
    matches = []
    for run, record in runs.items():
        short = run.name.rpartition("-")[2]
        is_id = short.startswith(text) or (
            text.startswith(short) and str(record.get("run_id")).startswith(text)
        )
        if text and (is_id or text in (run.name, f"{run.parent.name}/{run.name}")):
            matches.append(run)
    if len(matches) == 1:
        return look_for_edits(matches[0].resolve())
    if matches:
        some = ", ".join(str(match) for match in matches[-5:])
        raise ConfigError(f"run {text!r}: given the start of {len(matches)} runs, expected one: {some}")
    names = [name for run in runs for name in (str(run), run.name, run.name.rpartition("-")[2])]
    names += [LATEST, *sorted({f"{LATEST}:{run.parent.name}" for run in runs})] if runs else []
    newest = f"{LATEST}:{path.name}"
    hint = f"did you mean {newest!r}?" if newest in names else did_you_mean(text, names)
    where = f"{len(runs)} runs in {output_dir}" if runs else f"no runs in {output_dir} yet"
    expected = "a run's folder, its id or the start of it, latest or latest:NAME"
    raise ConfigError(f"run {text!r}: given no run, expected {expected} ({where}); {hint}".rstrip("; "))


def find_runs(output_dir: str | Path = "outputs") -> list[Path]:
    """All run folders, oldest first; those of one second in any order, because their files are not read."""
    folders = [file.parent for file in Path(output_dir).expanduser().glob(f"*/*/{RUN_FILE}")]
    return sorted(folders, key=lambda folder: (folder.name, str(folder)))


def whole_runs(output_dir: str | Path = "outputs") -> dict[Path, dict[str, Any]]:
    """The record of each run folder, in the order in which they were made; one warning names damaged ones."""
    whole, damaged = dict[Path, dict[str, Any]](), list[str]()
    for folder in find_runs(output_dir):
        try:
            whole[folder] = read_run(folder)
        except (OSError, DamagedRunError):
            damaged.append(str(folder))
    if damaged:
        logger.warning("left out, since run.json cannot be read: %s", ", ".join(damaged))
    for copy, original in find_copies(whole).items():
        logger.warning("%s is a copy of %s: the same run; --resume makes it one of its own", copy, original)
    return dict(sorted(whole.items(), key=lambda run: (run[1].get("start_time", 0.0), run[0].name)))


def find_copies(runs: Mapping[Path, Mapping[str, Any]]) -> dict[Path, Path]:
    """Run folders that were copied from others, and the original of each: the one that has its first name."""
    originals, copies = dict[str, Path](), dict[Path, Path]()
    ids = {folder: str(record.get("run_id", folder)) for folder, record in runs.items()}
    for folder in sorted(ids, key=lambda folder: not folder.name.endswith(ids[folder][:ID_LENGTH])):
        if (original := originals.setdefault(ids[folder], folder)) != folder:
            copies[folder] = original
    return copies


def claim_folder(root: Path) -> tuple[Path, str, float]:
    """A folder `<time>-<id>` under `root` that no other process has, its full id and its time."""
    root.mkdir(parents=True, exist_ok=True)
    while True:
        run_id, start = uuid.uuid4().hex, time.time()
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(start))
        folder = root / f"{stamp}-{run_id[:ID_LENGTH]}"
        with suppress(FileExistsError):  # another process drew the same id in the same second
            folder.mkdir()
            return folder, run_id, start


def this_process() -> dict[str, Any]:
    """Host, number and boot of this process, by which others tell whether it lives."""
    file = Path("/proc/sys/kernel/random/boot_id")  # not on macOS
    boot = file.read_text(encoding="ascii").strip() if file.is_file() else ""
    return {"host": socket.gethostname(), "pid": os.getpid(), "boot_id": boot}


def read_saved(folder: Path) -> dict[str, Any]:
    """The configuration of a run. Raises ConfigError where its folder has another format."""
    config = read_config(folder / CONFIG_FILE)
    if not (folder / RUN_FILE).is_file():  # a logged model of MLflow has none
        return config
    require_format(folder)
    return seen_from_here(folder.resolve(), config)


def seen_from_here(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run with its output folder and relative places as they are seen from here.

    The folder of its project may have been moved since, or be another one than the current one.
    """
    output_dir, name = Path(config["output_dir"]).expanduser(), Path(config["name"])
    if len(folder.parents) <= len(name.parts):
        return config
    root = folder.parents[len(name.parts)]
    if root / name != folder.parent or root == output_dir.resolve():
        return config  # moved away alone, or seen from the folder in which it was started
    config = {**config, "output_dir": str(root)}
    project = Path(*root.parts[: len(root.parts) - len(output_dir.parts)])
    if project / output_dir != root:
        return config

    def rebased(key: str, value: Any) -> Any:
        is_location = isinstance(value, str) and (LOCATION_KEY.match(key) or key in SOURCES)
        # One that is here, too, is read here: what differs in it is found and said.
        paths = [value, str(project / value)] if is_location and value else []
        return next((path for path in paths if any(glob.iglob(path, recursive=True))), value)  # noqa: PTH207

    return with_values(config, rebased)


def require_format(folder: Path) -> None:
    """Raise ConfigError where this code does not read the run folders of that format."""
    record = read_run(folder)
    if record.get("format") != FORMAT:
        version = record.get("versions", {}).get("runwright", "of an unknown version")
        raise ConfigError(
            f"{folder}: made by Runwright {version} with format {record.get('format')}, expected format "
            f"{FORMAT}; read it with the code that made it (see provenance.json), or train again"
        )
