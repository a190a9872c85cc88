"""The best trial of a sweep as a file for conf/experiment/ that makes the same run again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf


def experiment_file(overrides: Sequence[str], *, groups: Collection[str], about: str) -> str:
    """A config file over all groups, with the choices and values of a trial; `about` is its first comment."""
    bases: list[Any] = []
    choices: list[Any] = []
    values = OmegaConf.create()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
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
