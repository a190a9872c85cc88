"""The settings of Hydra that files and overrides may change: those that run nothing and write nowhere.

Hydra's node holds callbacks, environment variables, log handlers and folders of the jobs of a multirun. What
files change in the shipped node must be on the list in this module, or it is refused; the command line may
name commands of a launcher as well.
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from runwright.config.folders import ConfFolders
from runwright.config.loading import HYDRA, Loaded, hydra_leaves, load, register_plugins
from runwright.config.options import TARGET
from runwright.errors import Mistake, did_you_mean, listed, shown
from runwright.sweep.options import SWEEPER

PLUGINS = ("launcher", "sweeper")
NAME = "hydra.job.name"
SWEEP_FOLDER = "hydra.sweep.dir"
TYPED = (NAME, "hydra.mode", SWEEP_FOLDER, *(f"hydra/{kind}" for kind in PLUGINS))
PARAMS = "hydra.sweeper.params."  # axes in a file, each an override that a job is checked with
# Options of launchers whose text is data. Text of others may reach a shell (submitit's python, setup), `eval`
# (pre_dispatch of old joblib) or the disk (temp_folder, submitit_folder).
TEXT_OPTIONS = {
    *("name", "partition", "qos", "comment", "constraint", "exclude", "gres", "account", "mem_per_gpu"),
    *("mem_per_cpu", "prefer", "require", "batch_size", "max_nbytes", "mmap_mode"),
}
# No line break: submitit writes values into the comments at the top of a shell script. No space, no `${…}`.
PLAIN_TEXT = re.compile(r"\w[\w.,:=+\[\]-]*")
ALLOWED = (
    "a file sets hydra.job.name, hydra.mode, axes in hydra.sweeper.params and plain options of an installed "
    "launcher or sweeper only; other text of these goes on the command line"
)


def check_override(override: Override, folders: ConfFolders) -> list[Mistake]:
    """Mistakes in an override of a multirun that changes a setting of Hydra."""
    text, name = str(override.input_line), override.key_or_group
    kind = re.split("[./]", name)[1:2]
    is_option = name.count(".") > 1 and kind[0] in PLUGINS and "._" not in name
    if override.package or override.is_delete() or not (name in TYPED or is_option):
        expected = ", ".join([*TYPED, *(f"hydra.{kind}.<option>" for kind in PLUGINS)])
        return [Mistake(text, "another setting of Hydra", expected)]
    if override.is_sweep_override():
        return [Mistake(text, "several values", "one value for a setting of Hydra")]
    if "/" in name:
        names = sorted({*_installed(kind[0]).values(), *folders.options(name)})
        if override.value() not in names:
            hint = did_you_mean(str(override.value()), names)
            return [Mistake(text, f"{shown(override.value())} for {name}", f"one of {listed(names)}", hint)]
    return []


def check_hydra(leaves: Mapping[str, Any], *, shipped: Path) -> list[Mistake]:
    """Every setting that is refused among the leaves of Hydra's node as files make it."""
    targets = {kind: str(leaves.get(f"hydra.{kind}.{TARGET}")) for kind in PLUGINS}
    names = [_installed(kind).get(target, "basic") for kind, target in targets.items()]
    expected = shipped_leaves(shipped, *names)
    return [
        Mistake(key, shown(value), shown(expected[key]) if key in expected else "nothing", ALLOWED)
        for key, value in leaves.items()
        if not (key in expected and value == expected[key]) and not _may_be(key, value, expected)
    ]


def _may_be(key: str, value: Any, expected: Mapping[str, Any]) -> bool:
    kind, _, option = key.removeprefix("hydra.").partition(".")
    if "._" in key:  # `_target_` and what else instantiates
        return False
    if key == NAME:
        return isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None
    if kind == "sweeper" and expected.get("hydra.sweeper._target_") == SWEEPER:  # all is data
        return any(f"{name}.".startswith(f"hydra.sweeper.{option.partition('.')[0]}.") for name in expected)
    if isinstance(value, str) and not key.startswith(PARAMS):
        return option in TEXT_OPTIONS and key in expected and PLAIN_TEXT.fullmatch(value) is not None
    is_plain = value is None or isinstance(value, bool | int | float | str | Enum)
    is_option = kind in PLUGINS and (key in expected or key.startswith(PARAMS))
    return is_plain and (is_option or key == "hydra.mode")


def _installed(kind: str) -> dict[str, str]:
    """Names of the installed launchers or sweepers, by their target."""
    register_plugins()
    nodes = ConfigStore.instance().repo[HYDRA][kind].values()
    stored = [node for node in nodes if isinstance(node, ConfigNode)]
    return {str(node.node.get(TARGET, None)): node.name.removesuffix(".yaml") for node in stored}


@cache
def shipped_leaves(folder: Path, launcher: str, sweeper: str) -> dict[str, Any]:
    """Hydra's node of the shipped folder alone, with these plugins."""
    texts = [f"hydra/launcher={launcher}", f"hydra/sweeper={sweeper}"]
    choices = OverridesParser.create().parse_overrides(texts)
    loaded = load(ConfFolders(shipped=folder, project=None), choices)
    assert isinstance(loaded, Loaded)
    return hydra_leaves(loaded.hydra)
