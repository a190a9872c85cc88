"""Print a composed configuration, or the differences between two."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runwright.config.compose import compose
from runwright.config.options import leaves_of
from runwright.config.redaction import redact
from runwright.errors import ConfigError, did_you_mean, listed, raise_if_any, shown


def show(
    overrides: list[str], *, resolve: bool, package: str | None, allow_shadow: bool, highlight: bool = True
) -> int:
    """Print the composed configuration as YAML. Raises ConfigError with its mistakes."""
    composed = compose(overrides, allow_shadow=allow_shadow)
    raise_if_any([m for m in composed.mistakes if not (m.given.startswith("???") and not resolve)])
    config = redact(select(composed.config if resolve else composed.unresolved, package))
    is_container = isinstance(config, dict | list)
    text = OmegaConf.to_yaml(OmegaConf.create(config)).rstrip() if is_container else shown(config)
    if package and is_container:
        text = f"# @package {package}\n{text}"
    if highlight and sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "yaml", background_color="default"))
    else:
        print(text)
    return 0


def select(config: Any, package: str | None) -> Any:
    """The value under a dotted key of a configuration."""
    for name in package.split(".") if package else []:
        items = {str(key): item for key, item in enumerate(config)} if isinstance(config, list) else config
        if not isinstance(items, dict) or name not in items:
            names = list(items) if isinstance(items, dict) else []
            raise ConfigError(
                f"--package {package}: given {name!r}, expected one of {listed(names) or 'nothing deeper'}; "
                f"{did_you_mean(name, names)}".rstrip("; ")
            )
        config = items[name]
    return config


def diff(first: str, second: str, *, allow_shadow: bool) -> list[str]:
    """Lines on each key that differs, of two sets of overrides, files or runs."""
    one = leaves_of(redact(read_side(first, allow_shadow=allow_shadow)))
    other = leaves_of(redact(read_side(second, allow_shadow=allow_shadow)))
    lines: list[str] = []
    for key in sorted({*one, *other}):
        if key not in other:
            lines.append(f"- {key}: {shown(one[key])}")
        elif key not in one:
            lines.append(f"+ {key}: {shown(other[key])}")
        elif type(one[key]) is not type(other[key]) or one[key] != other[key]:
            lines.append(f"~ {key}: {shown(one[key])} -> {shown(other[key])}")
    return lines


def read_side(text: str, *, allow_shadow: bool) -> dict[str, Any]:
    """A configuration from a file, a run, or overrides in one quoted argument."""
    from runwright.runs.folder import CONFIG_FILE, read_config, resolve_run

    path = Path(text).expanduser()
    if text.strip() and path.is_file():
        return read_config(path)
    if text.strip() and (path / CONFIG_FILE).is_file():
        return read_config(path / CONFIG_FILE)
    words = shlex.split(text)
    if all("=" in word or word.startswith("~") for word in words):
        composed = compose(words, allow_shadow=allow_shadow)
        raise_if_any(composed.mistakes)
        return composed.config
    return read_config(resolve_run(text) / CONFIG_FILE)
