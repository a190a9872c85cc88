"""The configuration of a saved run, completed with options that came after the run was made.

Runs know nothing of newer options, and shipped classes have no defaults: what such an option is there comes
from the YAML that is shipped with the same target today. The run's own file stays as it is.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.conf_folders import GLOBAL_GROUPS, find_conf_folders
from runwright.errors import ConfigError
from runwright.mistakes import shown
from runwright.option_types import TARGET
from runwright.run_folder import CONFIG_FILE, read_config, resolved
from runwright.signature import Signature
from runwright.targets import check_target

logger = logging.getLogger(__name__)

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
    """The configuration of the run in a folder."""
    return complete(read_config(folder / CONFIG_FILE))


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
