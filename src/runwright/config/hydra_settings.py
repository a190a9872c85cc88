"""The settings of Hydra that files and overrides may change: those that run nothing and write nowhere.

Hydra's node holds callbacks, environment variables, log handlers and folders of the jobs of a multirun. What
differs from the shipped node must be on the list in this module, or it is refused.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from runwright.config.folders import ConfFolders
from runwright.config.loading import HYDRA, Loaded, Loader, hydra_leaves, is_hydra, load, register_plugins
from runwright.config.options import TARGET, leaves_of
from runwright.errors import Mistake, did_you_mean, listed, raise_if_any, shown
from runwright.sweep.options import TARGET as OURS

PLUGINS = ("launcher", "sweeper")
NAME = "hydra.job.name"
SWEEP_FOLDER = "hydra.sweep.dir"
TYPED = (NAME, "hydra.mode", SWEEP_FOLDER, *(f"hydra/{kind}" for kind in PLUGINS))
PARAMS = "hydra.sweeper.params."  # axes in a file, each an override
# Options of launchers whose text is data. Text of others may reach a shell (submitit's python, setup), `eval`
# (pre_dispatch of old joblib) or the disk (temp_folder, submitit_folder).
TEXT_OPTIONS = {
    *("name", "partition", "qos", "comment", "constraint", "exclude", "gres", "account", "mem_per_gpu"),
    *("mem_per_cpu", "prefer", "require", "batch_size", "max_nbytes", "mmap_mode"),
}
# No line break: submitit writes values into the comments at the top of a shell script. No space, no `${…}`.
PLAIN_TEXT = re.compile(r"\w[\w.,:=+\[\]-]*")
PLAIN_NAME = re.compile(r"\w[\w.-]*")
ALLOWED = (
    "a config sets hydra.job.name (letters, digits, '.', '_', '-'), hydra.mode, axes in hydra.sweeper.params "
    "and plain options of launcher and sweeper only"
)
SET_BY_HYDRA = ("hydra.runtime.", "hydra.job.override_dirname", "hydra.job.config_name")


def check_override(override: Override, folders: ConfFolders) -> list[Mistake]:
    """Mistakes in an override of a multirun that changes a setting of Hydra."""
    text, name = str(override.input_line), override.key_or_group
    kind = re.split("[./]", name)[1:2]
    is_option = name.count(".") > 1 and kind[0] in PLUGINS
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


def check_hydra(
    leaves: Mapping[str, Any],
    *,
    shipped: Path,
    typed: Collection[str] = (),
    at_run_time: Mapping[str, Any] | None = None,
) -> list[Mistake]:
    """Every setting that is refused among the leaves of Hydra's composed node.

    `typed`: keys that the command line sets, which may have values that files may not; `at_run_time`: leaves
    that Hydra itself writes at run time.
    """
    targets = {kind: str(leaves.get(f"hydra.{kind}.{TARGET}")) for kind in PLUGINS}
    names = [_installed(kind).get(target, "basic") for kind, target in targets.items()]
    expected = {**shipped_leaves(shipped, *names), **(at_run_time or {})}
    mistakes = []
    for key, value in leaves.items():
        if not (key in expected and value == expected[key]) and not _may_be(key, value, expected, typed):
            mistakes.append(_refused(key, shown(value), expected))
    if not mistakes:  # keys are absent where a file replaces one of Hydra's
        gone = [key for key in expected if not any(f"{name}.".startswith(f"{key}.") for name in leaves)]
        hint = "a file for a launcher or sweeper extends the plugin's: defaults: [joblib, _self_]"
        mistakes = [Mistake(key, "nothing", shown(expected[key]), hint) for key in gone]
    return mistakes


class CheckedLoader(Loader):
    """Hydra's loader with the check on every configuration it composes, also for overrides a sweeper draws.

    Launchers pickle it into their processes.
    """

    def __init__(self, search_path: ConfigSearchPath, overrides: list[str], *, shipped: Path) -> None:
        super().__init__(search_path)
        parsed = [o for o in OverridesParser.create().parse_overrides(overrides) if is_hydra(o)]
        self.shipped = shipped
        self.texts = [str(override.input_line) for override in parsed]
        self.keys = {override.key_or_group for override in parsed}

    def _process_config_searchpath(self, *args: Any, **more: Any) -> None:
        """Ignore `hydra.searchpath`: a package that it names (`pkg://`) would be imported."""

    def _compose_config_from_defaults_list(self, *args: Any, **more: Any) -> DictConfig:
        config = super()._compose_config_from_defaults_list(*args, **more)
        raise_if_any(check_hydra(hydra_leaves(config), shipped=self.shipped))  # of files
        return config

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **more: Any
    ) -> Any:
        """The configuration as Hydra composes it. Raises ConfigError for a setting that is refused."""
        parsed = OverridesParser.create().parse_overrides(overrides)
        hydra = [str(override.input_line) for override in parsed if is_hydra(override)]
        others = [str(override.input_line) for override in parsed if not is_hydra(override)]
        config = super().load_configuration(config_name, overrides, *args, **more)
        leaves = hydra_leaves(config)
        at_run_time = {key: value for key, value in leaves.items() if key.startswith(SET_BY_HYDRA)}
        at_run_time |= leaves_of({HYDRA: {"overrides": {"hydra": self.texts, "task": others}}})
        mistakes = check_hydra(leaves, shipped=self.shipped, typed=self.keys, at_run_time=at_run_time)
        if hydra != self.texts:
            expected = "what the command line says of Hydra: " + listed(self.texts)
            mistakes.append(Mistake("hydra.overrides", listed(hydra), expected))
        raise_if_any(mistakes)
        return config


def _may_be(key: str, value: Any, expected: Mapping[str, Any], typed: Collection[str]) -> bool:
    kind, _, option = key.removeprefix("hydra.").partition(".")
    names = option.split(".")
    if any(name.startswith("_") for name in names):  # `_target_` and what else instantiates
        return False
    if key.startswith(PARAMS):
        with suppress(HydraException):
            texts = [f"{name}={value}" for name in key.removeprefix(PARAMS).split(",")]
            return not any(map(is_hydra, OverridesParser.create().parse_overrides(texts)))
        return False
    if key == NAME:
        return isinstance(value, str) and PLAIN_NAME.fullmatch(value) is not None
    if key == "hydra.mode":
        return isinstance(value, RunMode)
    is_typed = any(f"{key}.".startswith(f"{name}.") for name in typed)
    is_ours = kind == "sweeper" and expected.get("hydra.sweeper._target_") == OURS  # all is data
    if kind in PLUGINS and (is_typed or is_ours):
        return any(f"{name}.".startswith(f"hydra.{kind}.{names[0]}.") for name in expected)
    if kind in PLUGINS and key in expected:
        if isinstance(value, str):
            return option in TEXT_OPTIONS and PLAIN_TEXT.fullmatch(value) is not None
        return value is None or isinstance(value, bool | int | float | Enum)
    return key == SWEEP_FOLDER and key in typed


def _refused(key: str, problem: str, expected: Mapping[str, Any]) -> Mistake:
    kind = key.removeprefix("hydra.").partition(".")[0]
    if kind not in PLUGINS:
        return Mistake(key, problem, shown(expected[key]) if key in expected else "nothing", ALLOWED)
    options = {name.split(".")[2] for name in expected if name.startswith(f"hydra.{kind}.")} - {TARGET}
    allowed = f"{listed(sorted(_installed(kind).values()))}, with plain values of its options"
    hint = f"options: {listed(sorted(options)) or 'none'}; other text on the command line only: {key}=…"
    return Mistake(key, problem, f"an installed {kind}: {allowed}", hint)


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
