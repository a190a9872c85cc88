"""The folder of a run: made by exactly one process, looked up by path, id or `latest`.

outputs/<name>/<time>-<id>/ with config.yaml (resolved), overrides.yaml and run.json (who, when, status).
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from runwright.config.permissions import granted
from runwright.config.redaction import redact
from runwright.config.secrets import conceal, conceal_overrides, keep_references
from runwright.errors import ConfigError, did_you_mean, shown
from runwright.store import write_json, write_text
from runwright.version import __version__

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.yaml"
RUN_FILE = "run.json"
# In run.json; counted up when older folders can no longer be read, as when their config lacks an option.
FORMAT = 1
ID_LENGTH = 6
LATEST = "latest"


class Need(NamedTuple):
    """A result that a run may have, or not yet: its name, and whether a run's folder has it."""

    name: str
    is_in: Callable[[Path], bool]


def has_model(folder: Path) -> bool:
    """Return True if a run's folder has the best model, with what its task learned."""
    return (folder / "best" / "config.json").is_file() and (folder / "task.json").is_file()


BEST_MODEL = Need("best model", has_model)


def create(
    config: Mapping[str, Any], *, overrides: Sequence[str], command: Sequence[str], sweep: str | None = None
) -> Path:
    """A new folder that belongs to this run alone, with its configuration; references stand for secrets.

    `sweep` is the identity of the multirun that the run is a job of.
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
    import yaml
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if "${" in str(config):
            config = OmegaConf.to_container(OmegaConf.create(keep_references(config)), resolve=True)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file}: given a file that cannot be read ({reason}), expected a config.yaml"
        ) from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: given a {type(config).__name__}, expected a mapping of names to values")
    return {str(key): value for key, value in config.items()}


class DamagedRunError(ConfigError, ValueError):
    """A run.json that is not the record of a run."""


def read_run(folder: Path) -> dict[str, Any]:
    """The record of a run, which is its run.json. Raises DamagedRunError where it is none."""
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedRunError(f"{folder / RUN_FILE}: given no JSON, expected the record of a run") from error
    types = {"status": str, "run_id": str, "start_time": (int, float)}
    whole = isinstance(record, dict) and all(
        name not in record or isinstance(record[name], kind) for name, kind in types.items()
    )
    if not whole or "status" not in record:
        raise DamagedRunError(
            f"{folder / RUN_FILE}: given {shown(record)[:80]}, expected the record of a run; "
            "move its folder away"
        )
    return record


def update_status(folder: Path, status: str, **fields: Any) -> dict[str, Any]:
    """Write a new status, and other fields, into run.json in one step; returns the whole record."""
    record = {**read_run(folder), "status": status, **fields}
    write_json(folder / RUN_FILE, record)
    return record


def resolve_run(
    reference: str | Path, *, output_dir: str | Path = "outputs", needs: Need | None = None
) -> Path:
    """The folder of a run from its path, its id or the start of it, `latest`, or `latest:NAME`.

    The latest run is the newest one that has what is needed; where none has it, the newest.
    """
    path = Path(reference).expanduser()
    if (path / RUN_FILE).is_file():
        return path.resolve()
    text, runs = str(reference), whole_runs(output_dir)
    latest, _, name = text.partition(":")
    if latest == LATEST and (named := [run for run in runs if not name or run.parent.name == name]):
        return _newest(text, named, needs).resolve()
    matches = [folder for folder in runs if text and _is_called(folder, text)]
    if len(matches) == 1:
        return matches[0].resolve()
    if matches:
        some = ", ".join(str(match) for match in matches[-5:])
        raise ConfigError(f"run {text!r}: given the start of {len(matches)} runs, expected one: {some}")
    names = [name for run in runs for name in (str(run), run.name, run.name.rpartition("-")[2])]
    names += [LATEST, *sorted({f"{LATEST}:{run.parent.name}" for run in runs})] if runs else []
    hint = did_you_mean(text, names)
    where = f"{len(runs)} runs in {output_dir}" if runs else f"no runs in {output_dir} yet"
    raise ConfigError(
        f"run {text!r}: given no run, expected a run's folder, its id or the start of it, latest or "
        f"latest:NAME ({where}); {hint}".rstrip("; ")
    )


def find_runs(output_dir: str | Path = "outputs") -> list[Path]:
    """All run folders, oldest first; those of one second in any order, because their files are not read."""
    folders = [file.parent for file in Path(output_dir).expanduser().glob(f"*/*/{RUN_FILE}")]
    return sorted(folders, key=lambda folder: (folder.name, str(folder)))


def whole_runs(output_dir: str | Path = "outputs") -> list[Path]:
    """All run folders whose record can be read, oldest first; one warning names the others."""
    whole, damaged = list[Path](), list[str]()
    for folder in find_runs(output_dir):
        try:
            read_run(folder)
            whole.append(folder)
        except (OSError, DamagedRunError):
            damaged.append(str(folder))
    if damaged:
        logger.warning("left out, since run.json cannot be read: %s", ", ".join(damaged))
    return whole


def start_order(folder: Path) -> tuple[float, str]:
    """A key that sorts runs by the time they started, within a second too."""
    return read_run(folder).get("start_time", 0.0), folder.name


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
    return {"host": socket.gethostname(), "pid": os.getpid(), "boot_id": boot_id()}


def boot_id() -> str:
    """The id of this boot of the machine; empty where the system does not say."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text(encoding="ascii").strip() if file.is_file() else ""


def _is_called(folder: Path, text: str) -> bool:
    if folder.name == text or f"{folder.parent.name}/{folder.name}" == text:
        return True
    short = folder.name.rpartition("-")[2]
    if short.startswith(text):
        return True
    return text.startswith(short) and str(read_run(folder).get("run_id", "")).startswith(text)


def _newest(text: str, runs: list[Path], needs: Need | None) -> Path:
    """The newest run, or the newest that has what is needed, with a warning where it is not the newest."""
    # A reproduction is no newer run, unless there are only such.
    originals = [folder for folder in runs if "reproduces" not in read_run(folder)]
    newest, *older = sorted(originals or runs, key=start_order, reverse=True)
    if needs is None or needs.is_in(newest):
        return newest
    for folder in filter(needs.is_in, older):
        status = read_run(newest).get("status")
        logger.warning("%s: %s (%s) has no %s; taken: %s", text, newest, status, needs.name, folder)
        return folder
    return newest


def read_saved(folder: Path) -> dict[str, Any]:
    """The configuration of a run. Raises ConfigError where its folder has another format."""
    if (folder / RUN_FILE).is_file():  # a logged model of MLflow has none
        require_format(folder)
    return read_config(folder / CONFIG_FILE)


def require_format(folder: Path) -> None:
    """Raise ConfigError where this code does not read the run folders of that format."""
    record = read_run(folder)
    if record.get("format") != FORMAT:
        version = record.get("versions", {}).get("runwright", "of an unknown version")
        command = shlex.join(["runwright", "train", *record.get("overrides", [])])
        raise ConfigError(
            f"{folder}: made by Runwright {version} with format {record.get('format')}, expected format "
            f"{FORMAT}; read it with the code that made it (see provenance.json), or train again: {command}"
        )
