"""The folder of a run: made by exactly one process, found again by path, id or `latest`.

outputs/<name>/<time>-<id>/ with config.yaml (resolved), overrides.yaml and run.json (who, when, status).
"""

from __future__ import annotations

import copy
import json
import logging
import os
import platform
import shlex
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runwright import __version__
from runwright.config.folders import GLOBAL_GROUPS, find_conf_folders
from runwright.config.options import TARGET
from runwright.config.permissions import granted
from runwright.config.redaction import redact
from runwright.config.secrets import conceal, conceal_overrides, keep_references, refuse_in_names
from runwright.config.signature import Signature
from runwright.config.targets import check_target
from runwright.errors import ConfigError, did_you_mean, shown

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.yaml"
RUN_FILE = "run.json"
FORMAT = 1  # of a run folder, kept in run.json; counted up when this code can no longer read older ones
ID_LENGTH = 6
MAX_TRIES = 100
LATEST = "latest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Something that a run may have, or not yet."""

    name: str
    is_in: Callable[[Path], bool]  # a run's folder


def has_model(folder: Path) -> bool:
    """Whether the best model is in the folder of a run, with what its task learned."""
    return (folder / "best" / "config.json").is_file() and (folder / "task.json").is_file()


BEST_MODEL = Part(name="best model", is_in=has_model)


def create(
    config: Mapping[str, Any],
    *,
    overrides: Sequence[str],
    command: Sequence[str],
    unresolved: Mapping[str, Any] | None = None,
) -> Path:
    """A new folder that belongs to this run alone, with its configuration in it.

    Secrets are left out; `unresolved`, the configuration with its interpolations, says where they came from.
    """
    concealed = conceal(config, unresolved)
    refuse_in_names(config, concealed)
    folder, run_id, start = claim_folder(Path(config["output_dir"]).expanduser() / config["name"])
    record = {
        "format": FORMAT,
        "run_id": run_id,
        "name": config["name"],
        "status": "CREATED",
        "command": redact(list(command)),
        "overrides": conceal_overrides(overrides),
        "start_time": start,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot_id": boot_id(),
        "versions": {"runwright": __version__, "python": platform.python_version()},
        "permissions": asdict(granted()),
    }
    write_config(folder, concealed)
    write_text(folder / OVERRIDES_FILE, OmegaConf.to_yaml(OmegaConf.create(record["overrides"])))
    write_text(folder / RUN_FILE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return folder.resolve()


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the resolved configuration of a run, in one step; for secrets a reference to a variable."""
    write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(conceal(config))))


def read_config(file: Path) -> dict[str, Any]:
    """A configuration from a YAML file, resolved, as plain containers.

    References to environment variables stay as they are: `secret_values.reveal` puts their values in.
    """
    import yaml
    from omegaconf.errors import OmegaConfBaseException

    try:
        loaded = OmegaConf.load(file)
        config = resolved(OmegaConf.to_container(loaded, resolve=False))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file}: given a file that cannot be read ({reason}), expected a config.yaml"
        ) from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: given a {type(config).__name__}, expected a mapping of names to values")
    return {str(key): value for key, value in config.items()}


def resolved(config: Any) -> Any:
    """Plain containers without interpolations; references to environment variables stay."""
    if "${" not in str(config):
        return config
    return OmegaConf.to_container(OmegaConf.create(keep_references(config)), resolve=True)


def read_run(folder: Path) -> dict[str, Any]:
    """run.json."""
    return json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))


def update_status(folder: Path, status: str, **fields: Any) -> dict[str, Any]:
    """Write a new status, and other fields, into run.json in one step; returns the whole record."""
    record = {**read_run(folder), "status": status, **fields}
    write_text(folder / RUN_FILE, json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n")
    return record


def resolve_run(
    reference: str | Path, *, output_dir: str | Path = "outputs", needs: Part | None = None
) -> Path:
    """The folder of a run from its path, its id or the start of it, `latest`, or `latest:NAME`.

    The latest run is the newest one that has what is needed; where none has it, the newest.
    """
    path = Path(reference).expanduser()
    if (path / RUN_FILE).is_file():
        return path.resolve()
    text = str(reference)
    runs = find_runs(output_dir)
    if text == LATEST or text.startswith(f"{LATEST}:"):
        return _latest(text, runs, output_dir, needs)
    matches = [folder for folder in runs if text and _is_called(folder, text)]
    if len(matches) == 1:
        return matches[0].resolve()
    if matches:
        some = ", ".join(str(match) for match in matches[-5:])
        raise ConfigError(f"run {text!r}: given the start of {len(matches)} runs, expected one: {some}")
    names = [str(folder) for folder in runs] + [folder.name for folder in runs]
    short_ids = [folder.name.rpartition("-")[2] for folder in runs]
    hint = did_you_mean(text, [*names, *short_ids, LATEST, *_latest_names(runs)])
    where = f"{len(runs)} runs in {output_dir}" if runs else f"no runs in {output_dir} yet"
    raise ConfigError(
        f"run {text!r}: given no run, expected a run's folder, its id or the start of it, latest or "
        f"latest:NAME ({where}); {hint}".rstrip("; ")
    )


def find_runs(output_dir: str | Path = "outputs") -> list[Path]:
    """All run folders, oldest first; those of one second in any order, because their files are not read."""
    folders = [file.parent for file in Path(output_dir).expanduser().glob(f"*/*/{RUN_FILE}")]
    return sorted(folders, key=lambda folder: (folder.name, str(folder)))


def start_order(folder: Path) -> tuple[float, str]:
    """A key that sorts runs by the time they started, within a second too."""
    return read_run(folder).get("start_time", 0.0), folder.name


def claim_folder(root: Path) -> tuple[Path, str, float]:
    """A folder `<time>-<id>` under `root` that no other process has, its full id and its time."""
    root.mkdir(parents=True, exist_ok=True)
    for _ in range(MAX_TRIES):
        run_id, start = uuid.uuid4().hex, time.time()
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(start))
        folder = root / f"{stamp}-{run_id[:ID_LENGTH]}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process drew the same id in the same second
            continue
        return folder, run_id, start
    raise ConfigError(
        f"{root}: no free folder name after {MAX_TRIES} tries; set output_dir to another folder"
    )


def boot_id() -> str:
    """What tells this boot of the machine from every other; empty where the system does not say."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text(encoding="ascii").strip() if file.is_file() else ""


def write_text(file: Path, text: str) -> None:
    """Write a file in one step, and onto the disk itself."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _is_called(folder: Path, text: str) -> bool:
    if folder.name == text or f"{folder.parent.name}/{folder.name}" == text:
        return True
    short = folder.name.rpartition("-")[2]
    if short.startswith(text):
        return True
    return text.startswith(short) and str(read_run(folder).get("run_id", "")).startswith(text)


def _latest(text: str, runs: list[Path], output_dir: str | Path, needs: Part | None) -> Path:
    name = text.partition(":")[2]
    chosen = [folder for folder in runs if not name or folder.parent.name == name]
    if chosen:  # a reproduction is no newer run, unless there are only such
        originals = [folder for folder in chosen if "reproduces" not in read_run(folder)]
        newest, *older = sorted(originals or chosen, key=start_order, reverse=True)
        if needs is None or needs.is_in(newest):
            return newest.resolve()
        return (_first_with(needs, older, text, passed=newest) or newest).resolve()
    if not runs:
        raise ConfigError(f"run {text!r}: there are no runs in {output_dir} yet")
    names = _latest_names(runs)
    raise ConfigError(
        f"run {text!r}: given no run, expected one of {', '.join([LATEST, *names])}; "
        f"{did_you_mean(text, names)}".rstrip("; ")
    )


def _first_with(needs: Part, runs: list[Path], text: str, *, passed: Path) -> Path | None:
    """The first of these runs that has what is needed; that a newer one is passed over is said."""
    found = next(filter(needs.is_in, runs), None)
    if found is not None:
        status = read_run(passed).get("status")
        logger.warning("%s: %s (%s) has no %s; taken: %s", text, passed, status, needs.name, found)
    return found


def _latest_names(runs: list[Path]) -> list[str]:
    return sorted({f"{LATEST}:{folder.parent.name}" for folder in runs})


ROOT_FILE = "train.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedConfig:
    """A configuration with every option, and which of them the run did not have."""

    config: dict[str, Any]
    filled: dict[str, tuple[Any, str]]  # by key: the value, and the file it is from

    def warn(self, where: Path) -> None:
        """Say which options were filled in, and with what."""
        for key, (value, file) in self.filled.items():
            logger.warning(
                "%s: the run was made before there was %s; taken as %s has it: %s",
                where, key, file, shown(value),
            )  # fmt: skip


def read_saved(folder: Path) -> SavedConfig:
    """The configuration of the run in a folder. Raises ConfigError where the folder has another format."""
    if (folder / RUN_FILE).is_file():  # a logged model of MLflow has none
        require_format(folder)
    return complete(read_config(folder / CONFIG_FILE))


def require_format(folder: Path) -> None:
    """Raise ConfigError where this code does not read the run folders of that format."""
    record = read_run(folder)
    if record.get("format") == FORMAT:
        return
    version = record.get("versions", {}).get("runwright", "of an unknown version")
    kind = f"with format {record['format']}" if "format" in record else "before run folders had a format"
    command = shlex.join(["runwright", "train", *record.get("overrides", [])])
    raise ConfigError(
        f"{folder}: made by Runwright {version} {kind}, expected format {FORMAT}; read it with the code that "
        f"made it (provenance.json names the commit), or train again: {command}"
    )


def complete(config: Mapping[str, Any]) -> SavedConfig:
    """The configuration with the options that it lacks, where a shipped file has them."""
    whole: dict[str, Any] = copy.deepcopy(dict(config))
    shipped = _Shipped()
    filled = dict(_fill_root(whole, shipped.root))
    for key, node in list(_nodes(whole)):
        for name, (value, file) in shipped.lacking(node, key=key).items():
            node[name] = copy.deepcopy(value)
            filled[f"{key}.{name}"] = file
    if not filled:
        return SavedConfig(config=whole, filled={})
    whole = resolved(whole)
    return SavedConfig(config=whole, filled={key: (_at(whole, key), file) for key, file in filled.items()})


def _fill_root(config: dict[str, Any], root: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What belongs to no group: names and seeds, how processes are started."""
    for name, value in root.items():
        if name not in config:
            config[name] = copy.deepcopy(value)
            yield name, ROOT_FILE
        elif isinstance(value, Mapping) and isinstance(config[name], dict) and value:
            for inner in value.keys() - config[name].keys():
                config[name][inner] = copy.deepcopy(value[inner])
                yield f"{name}.{inner}", ROOT_FILE


class _Shipped:
    """The nodes in the shipped files and the user's, read when they are first asked for."""

    def __init__(self) -> None:
        self._folders = find_conf_folders()
        self._known: dict[str, list[tuple[str, dict[str, Any]]]] = {}

    @property
    def root(self) -> dict[str, Any]:
        """The root of every run, without what only composing it needs."""
        content = _read(self._folders.shipped / ROOT_FILE)
        return {name: value for name, value in content.items() if name not in ("defaults", "hydra")}

    def lacking(self, node: Mapping[str, Any], *, key: str) -> dict[str, tuple[Any, str]]:
        """The options that a node lacks, each with the value and the file that has it.

        Of several files it is the one that is most like the node, then the one of its name.
        """
        group, last = key.partition(".")[0], key.rpartition(".")[2]

        def likeness(candidate: tuple[str, dict[str, Any]]) -> tuple[int, bool]:
            file, other = candidate
            return sum(name in other and other[name] == node[name] for name in node), Path(file).stem == last

        try:
            signature = check_target(node[TARGET], key=TARGET)
        except ConfigError:
            return {}  # whoever makes it says what is wrong
        if not isinstance(signature, Signature):
            return {}
        names = [name for name, option in signature.options.items() if option.required and name not in node]
        found: dict[str, tuple[Any, str]] = {}
        for name in names:
            candidates = [(file, other) for file, other in self._like(node, group) if name in other]
            if candidates:
                file, other = max(candidates, key=likeness)
                found[name] = (other[name], file)
        return found

    def _like(self, node: Mapping[str, Any], group: str) -> list[tuple[str, dict[str, Any]]]:
        """Nodes of the same target; where no file has it, those with all options of this one."""
        if group not in self._known:
            self._known[group] = list(self._read_group(group)) if group not in GLOBAL_GROUPS else []
        known = self._known[group]
        same = [each for each in known if each[1][TARGET] == node[TARGET]]
        own = node.keys() - {TARGET}
        return same or [each for each in known if own and own <= each[1].keys()]

    def _read_group(self, group: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for folder in self._folders.in_order:
            for file in sorted((folder / group).rglob("*.yaml")):
                for _, node in _nodes(_read(file)):
                    yield file.relative_to(folder).as_posix(), node


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _nodes(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a target, with its key; a file's own has none."""
    if isinstance(value, dict):
        if TARGET in value:
            yield key, value
        for name, inner in value.items():
            yield from _nodes(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _nodes(inner, f"{key}.{place}")


def _at(value: Any, key: str) -> Any:
    parts: Sequence[str] = key.split(".")
    for part in parts:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
