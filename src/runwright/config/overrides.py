"""Overrides from the command line, each parsed, checked and applied alone: all mistakes are found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runwright.config.hints import hint_for_key, hint_for_option
from runwright.config.hydra_settings import check_override
from runwright.config.loading import is_hydra
from runwright.config.options import TARGET
from runwright.errors import Mistake, did_you_mean, listed, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runwright.config.folders import ConfFolders


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """Overrides by what they do."""

    choices: list[Override] = field(default_factory=list)  # group=option
    values: list[Override] = field(default_factory=list)  # key=value
    sweeps: list[Override] = field(default_factory=list)  # of several values, for a multirun
    hydra: list[Override] = field(default_factory=list)  # what a multirun may set of Hydra


def parse_overrides(
    overrides: Sequence[str], folders: ConfFolders, *, multirun: bool = False
) -> tuple[Parsed, list[Mistake]]:
    """The overrides, sorted; what cannot be read is a mistake."""
    parser = OverridesParser.create()
    groups = set(folders.groups())
    parsed = Parsed()
    mistakes: list[Mistake] = []
    seen: dict[str, str] = {}
    for text in overrides:
        override = _parse(parser, text)
        if isinstance(override, Mistake):
            mistakes.append(override)
            continue
        if is_hydra(override):
            wrong = check_override(override, folders) if multirun else [_only_for_multirun(text)]
            mistakes += wrong
            parsed.hydra.extend([override] if not wrong else [])
        elif override.is_sweep_override():
            parsed.sweeps.append(override)
            if not multirun:
                mistakes.append(_sweep_without_flag(override))
        elif _is_choice(override, groups):
            mistakes += _given_twice(override, seen)
            parsed.choices.append(override)
        else:
            parsed.values.append(override)
    return parsed, mistakes


def check_choice(override: Override, folders: ConfFolders) -> list[Mistake]:
    """What is wrong with a choice of options for a group."""
    text = str(override.input_line)
    group = override.key_or_group
    groups = folders.groups()
    if override.is_force_add():
        return [
            Mistake(key=text, given="'++' before a group", expected=f"{group}=<option> or +{group}=<option>")
        ]
    if group not in groups:
        hint = did_you_mean(group, groups)
        return [
            Mistake(
                key=text, given=f"an unknown group {group!r}", expected=f"one of {listed(groups)}", hint=hint
            )
        ]
    if override.is_delete():
        # Hydra cannot delete a choice of several options.
        is_list = group == "metric"
        return [Mistake(key=text, given="'~' before a list", expected=f"{group}=[]")] if is_list else []
    value = override.value()
    chosen = value if isinstance(value, list) else [value]
    options = folders.options(group)
    mistakes: list[Mistake] = []
    for option in chosen:
        if isinstance(option, str) and option.removesuffix(".yaml") in options:
            continue
        hint = f"leave it out, or write ~{group}"
        if isinstance(option, str):
            hint = hint_for_option(option, options, group, folders)
        expected = f"one of the options {listed(options)}"
        mistakes.append(
            Mistake(key=text, given=f"{shown(option)} for group {group!r}", expected=expected, hint=hint)
        )
    if len(set(map(str, chosen))) < len(chosen):
        mistakes.append(Mistake(key=text, given="an option twice", expected="each option once"))
    return mistakes


def apply_value(override: Override, config: DictConfig) -> list[Mistake]:
    """Set one value in the composed configuration, or say why it cannot be."""
    text, key = str(override.input_line), override.key_or_group
    if override.package is not None:
        return [Mistake(key=text, given=f"'@{override.package}' on a key", expected="a group before '@'")]
    unknown = _find_unknown(override, config)
    if unknown:
        return [unknown]
    value = _value(override)
    node = _existing(config, key) if isinstance(value, str | dict) else None
    if isinstance(node, DictConfig) and "train" in list(node) and isinstance(value, str):
        hint = f"did you mean {key}.train={text.partition('=')[2]}?"
        return [Mistake(key=text, given="one value", expected="one for each split", hint=hint)]
    if isinstance(value, dict) and isinstance(node, DictConfig) and TARGET not in node:
        # `dataset.columns={text: review}` brings new names; the schema knows what may be there.
        OmegaConf.set_struct(node, value=False)
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except (
        HydraException,
        OmegaConfBaseException,
        ValueError,
        TypeError,
        AttributeError,
        AssertionError,  # OmegaConf's, of a key below null
        IndexError,
    ) as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        return [Mistake(key=text, given=shown(value), expected=f"a value for {key!r}", hint=reason)]
    return []


def _existing(config: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:  # what it refers to is not there
        return None


def _parse(parser: OverridesParser, text: str) -> Override | Mistake:
    if "=" not in text and not text.startswith("~"):
        hint = "an override is key=value; options of the command start with --"
        return Mistake(key=text, given="no '='", expected="key=value or group=option", hint=hint)
    try:
        parsed = parser.parse_override(text)
        if parsed.key_or_group:
            return parsed
        return Mistake(key=text, given="no key", expected="key=value or group=option")
    except HydraException as error:
        reason = " ".join(str(error).split("\n")[0].split())
        hint = "quote special characters for Hydra and for the shell: 'key=\"a, b\"'"
        return Mistake(
            key=text, given=f"a form that Hydra cannot read ({reason})", expected="key=value", hint=hint
        )
    except (ValueError, TypeError, RecursionError) as error:
        return Mistake(key=text, given=f"a value that cannot be read ({error})", expected="key=value")


def _is_choice(override: Override, groups: set[str]) -> bool:
    name = override.key_or_group
    if "/" in name:
        return True
    return name in groups and not isinstance(_value(override), dict)


def _value(override: Override) -> Any:
    return None if override.is_sweep_override() else override.value()


def _only_for_multirun(text: str) -> Mistake:
    return Mistake(
        key=text,
        given="a setting of Hydra",
        expected="a key of the configuration",
        hint="with -m it sets the sweep",
    )


def _sweep_without_flag(override: Override) -> Mistake:
    key = override.get_key_element()
    values = str(override.input_line).partition("=")[2]
    return Mistake(
        key=str(override.input_line),
        given="several values",
        expected="one value",
        hint=f"-m runs each of them; a list is {key}=[{values}]",
    )


def _given_twice(override: Override, seen: dict[str, str]) -> list[Mistake]:
    # Hydra lets the last of two choices win without a word.
    element, text = override.get_key_element(), str(override.input_line)
    before = seen.setdefault(element, text)
    if before in (text,):
        return []
    several = f"; for several: {element}=[a,b]" if override.key_or_group == "metric" else ""
    return [Mistake(key=text, given=f"a second choice after {before!r}", expected=f"one choice{several}")]


def _find_unknown(override: Override, config: DictConfig) -> Mistake | None:
    """A key that is not there; with '+' the parent must be."""
    key = override.key_or_group
    adds = override.is_add() or override.is_force_add()
    parts = key.split(".")
    depth = _known_depth(config, parts)
    if depth == len(parts) or (adds and depth >= len(parts) - 1):
        return None
    if adds and depth:  # `+model.config.rope.theta=1` makes the folders between
        return None
    text = str(override.input_line)
    if adds:  # a wholly new branch at the root: the schema knows whether it may be there
        return None
    where = ".".join(parts[:depth])
    node = OmegaConf.select(config, where) if where else config
    siblings = [str(name) for name in node if name != TARGET] if isinstance(node, DictConfig) else []
    expected = f"one of {listed(siblings)}" if siblings else "a key of the configuration"
    free = isinstance(node, DictConfig) and where and TARGET not in node
    if free and not nearest(parts[depth], siblings):
        hint = f"a new key takes a plus: +{text}"
    else:
        value = text.partition("=")[2]
        hint = hint_for_key(key, value, config, where=where, siblings=siblings)
    return Mistake(key=text, given=f"an unknown key {key!r}", expected=expected, hint=hint)


def _known_depth(config: DictConfig, parts: list[str]) -> int:
    """How many leading parts of a key exist."""
    node: Any = config
    for depth, part in enumerate(parts):
        if isinstance(node, ListConfig):
            if not part.lstrip("-").isdigit() or int(part) >= len(node):
                return depth
            node = node._get_node(int(part))
        elif isinstance(node, DictConfig) and not node._is_none() and part in node.keys():  # noqa: SIM118 - a missing `???` counts
            node = node._get_node(part)
        else:
            return depth
        if isinstance(node, DictConfig | ListConfig) and node._is_interpolation():
            node = node._maybe_dereference_node()
    return len(parts)
