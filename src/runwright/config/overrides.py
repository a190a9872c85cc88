"""Overrides from the command line, each parsed, checked and applied alone: all mistakes are found."""

from __future__ import annotations

from contextlib import suppress
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


# AssertionError is OmegaConf's, of a key below null.
WRONG_VALUE = (ValueError, TypeError, AttributeError, AssertionError, IndexError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """The overrides of a command line by their kind."""

    choices: list[Override] = field(default_factory=list)  # group=option
    values: list[Override] = field(default_factory=list)  # key=value
    sweeps: list[Override] = field(default_factory=list)  # of several values, for a multirun
    hydra: list[Override] = field(default_factory=list)  # settings of Hydra that a multirun may set


def parse_overrides(
    overrides: Sequence[str], folders: ConfFolders, *, multirun: bool = False
) -> tuple[Parsed, list[Mistake]]:
    """The overrides by their kind, and the mistakes in those that cannot be used."""
    parser, groups, parsed = OverridesParser.create(), set(folders.groups()), Parsed()
    mistakes: list[Mistake] = []
    seen: dict[str, str] = {}
    for text in overrides:
        override = _parse(parser, text)
        if isinstance(override, Mistake):
            mistakes.append(override)
            continue
        key, name = override.get_key_element(), override.key_or_group
        if is_hydra(override):
            given, hint = "a setting of Hydra", "with -m it sets the sweep"
            refused = [Mistake(key=text, given=given, expected="a key of the configuration", hint=hint)]
            wrong = check_override(override, folders) if multirun else refused
            mistakes += wrong
            parsed.hydra.extend([override] if not wrong else [])
        elif override.is_sweep_override():
            parsed.sweeps.append(override)
            if not multirun:
                hint = f"-m runs each of them; a list is {key}=[{text.partition('=')[2]}]"
                mistakes.append(Mistake(key=text, given="several values", expected="one value", hint=hint))
        elif "/" in name or (name in groups and not isinstance(override.value(), dict)):
            # Hydra lets the last of two choices win without a word.
            if (before := seen.setdefault(key, text)) != text:
                expected = "one choice" + (f"; for several: {key}=[a,b]" if name == "metric" else "")
                mistakes.append(
                    Mistake(key=text, given=f"a second choice after {before!r}", expected=expected)
                )
            parsed.choices.append(override)
        else:
            parsed.values.append(override)
    return parsed, mistakes


def check_choice(override: Override, folders: ConfFolders) -> list[Mistake]:
    """Mistakes in a choice of options for a group."""
    text, group = str(override.input_line), override.key_or_group
    groups = folders.groups()
    if override.is_force_add():
        expected = f"{group}=<option> or +{group}=<option>"
        return [Mistake(key=text, given="'++' before a group", expected=expected)]
    if group not in groups:
        given, expected = f"an unknown group {group!r}", f"one of {listed(groups)}"
        return [Mistake(key=text, given=given, expected=expected, hint=did_you_mean(group, groups))]
    if override.is_delete():
        # Hydra cannot delete a choice of several options.
        is_list = group == "metric"
        return [Mistake(key=text, given="'~' before a list", expected=f"{group}=[]")] if is_list else []
    value, options = override.value(), folders.options(group)
    choices = value if isinstance(value, list) else [value]
    mistakes: list[Mistake] = []
    for option in choices:
        if isinstance(option, str) and option.removesuffix(".yaml") in options:
            continue
        hint = f"leave it out, or write ~{group}"
        if isinstance(option, str):
            hint = hint_for_option(option, options, group, folders)
        given, expected = f"{shown(option)} for group {group!r}", f"one of the options {listed(options)}"
        mistakes.append(Mistake(key=text, given=given, expected=expected, hint=hint))
    if len(set(map(str, choices))) < len(choices):
        mistakes.append(Mistake(key=text, given="an option twice", expected="each option once"))
    return mistakes


def apply_value(override: Override, config: DictConfig) -> list[Mistake]:
    """Set one value in the composed configuration; returns the mistake where it cannot be set."""
    text, key = str(override.input_line), override.key_or_group
    if override.package is not None:
        return [Mistake(key=text, given=f"'@{override.package}' on a key", expected="a group before '@'")]
    if unknown := _check_key(override, config):
        return [unknown]
    value = override.value()
    node = None
    with suppress(OmegaConfBaseException):  # what it refers to is not there
        node = OmegaConf.select(config, key) if isinstance(value, str | dict) else None
    if isinstance(node, DictConfig) and "train" in list(node) and isinstance(value, str):
        hint = f"did you mean {key}.train={text.partition('=')[2]}?"
        return [Mistake(key=text, given="one value", expected="one for each split", hint=hint)]
    if isinstance(value, dict) and isinstance(node, DictConfig) and TARGET not in node:
        # `dataset.columns={text: review}` brings new names; the schema knows what may be there.
        OmegaConf.set_struct(node, value=False)
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except (HydraException, OmegaConfBaseException, *WRONG_VALUE) as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        return [Mistake(key=text, given=shown(value), expected=f"a value for {key!r}", hint=reason)]
    return []


def _parse(parser: OverridesParser, text: str) -> Override | Mistake:
    given, expected, hint = "no key", "key=value or group=option", ""
    if "=" not in text and not text.startswith("~"):
        given, hint = "no '='", "an override is key=value; options of the command start with --"
        return Mistake(key=text, given=given, expected=expected, hint=hint)
    try:
        parsed = parser.parse_override(text)
        if parsed.key_or_group:
            return parsed
    except HydraException as error:
        reason = " ".join(str(error).split("\n")[0].split())
        given, expected = f"a form that Hydra cannot read ({reason})", "key=value"
        hint = "quote special characters for Hydra and for the shell: 'key=\"a, b\"'"
    except (ValueError, TypeError, RecursionError) as error:
        given, expected = f"a value that cannot be read ({error})", "key=value"
    return Mistake(key=text, given=given, expected=expected, hint=hint)


def _check_key(override: Override, config: DictConfig) -> Mistake | None:
    """The mistake in a key that is not there and is not added with '+'."""
    key, text = override.key_or_group, str(override.input_line)
    if override.is_add() or override.is_force_add():
        return None  # the schema knows whether it may be there
    parts = key.split(".")
    depth = _existing_depth(config, parts)
    if depth == len(parts):
        return None
    where = ".".join(parts[:depth])
    node = OmegaConf.select(config, where) if where else config
    siblings = [str(name) for name in node if name != TARGET] if isinstance(node, DictConfig) else []
    expected = f"one of {listed(siblings)}" if siblings else "a key of the configuration"
    is_free = isinstance(node, DictConfig) and where and TARGET not in node
    if is_free and not nearest(parts[depth], siblings):
        hint = f"a new key takes a plus: +{text}"
    else:
        hint = hint_for_key(key, text.partition("=")[2], config, where=where, siblings=siblings)
    return Mistake(key=text, given=f"an unknown key {key!r}", expected=expected, hint=hint)


def _existing_depth(config: DictConfig, parts: list[str]) -> int:
    """The number of leading parts of a key that exist."""
    node: Any = config
    for depth, part in enumerate(parts):
        if isinstance(node, ListConfig) and part.lstrip("-").isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        elif isinstance(node, DictConfig) and not node._is_none() and part in node.keys():  # noqa: SIM118 - a missing `???` counts
            node = node._get_node(part)
        else:
            return depth
        if isinstance(node, DictConfig | ListConfig) and node._is_interpolation():
            node = node._maybe_dereference_node()
    return len(parts)
