"""The check of a whole configuration: every key, type, range and combination, with no heavy import.

What a node may say is read from the source of its target (`signature.py`), so that there is one source of
truth. All mistakes are found in one go.
"""

from __future__ import annotations

from typing import Any

from runwright.config.folders import GLOBAL_GROUPS
from runwright.config.options import TARGET, OptionType, check_value
from runwright.config.rules.makers import check_rules
from runwright.config.rules.table import RULES
from runwright.config.signature import Signature, read_signature
from runwright.config.targets import (
    DOOR_OPENERS,
    GROUPS,
    check_objects,
    check_target,
    door_openers,
    is_called_later,
    objects_of_nested,
)
from runwright.errors import Mistake, did_you_mean, listed, shown

ROOT = "runwright.config.options"
ROOT_NODES = {"": "RootOptions", "seeds": "SeedOptions", "launch": "LaunchOptions"}


def check(config: dict[str, Any]) -> list[Mistake]:
    """Every mistake that can be known from a plain resolved configuration."""
    mistakes = [*door_openers(config), *_check_root(config)]
    for group in GROUPS:
        if group == "metric":
            mistakes += _check_metrics(config.get(group))
        elif group not in config:
            mistakes.append(_missing_group(group))
        else:
            mistakes += check_node(config[group], key=group, group=group, objects=GROUPS[group].objects)
    return mistakes + check_rules(RULES, {"metric": {}, **config}, mistakes)


def check_node(
    node: Any,
    *,
    key: str,
    group: str,
    objects: tuple[str, ...] = (),
    expected: str = "",
    nested: bool = False,
) -> list[Mistake]:
    """What is wrong with a node that names a target; a nested one gets the objects of its group."""
    if not isinstance(node, dict) or TARGET not in node:
        given = shown(node) if not isinstance(node, dict) else f"a mapping without {TARGET}"
        wanted = expected or f"a node with a {TARGET}: choose {group}=<option>"
        return [Mistake(key=key, given=given, expected=wanted)]
    signature = check_target(node[TARGET], key=f"{key}.{TARGET}", group=group)
    if isinstance(signature, Mistake):
        return [signature]
    if (nested or group == "metric") and is_called_later(signature, group):
        objects = signature.objects
    elif nested or GROUPS[group].only_if_needed:
        objects = objects_of_nested(signature, GROUPS[group].objects)
    options = {name: value for name, value in node.items() if name not in (TARGET, *GROUPS[group].notes)}
    return [
        *check_objects(signature, key=key, objects=objects),
        *check_options(options, signature, key=key, group=group),
    ]


def check_options(
    options: dict[str, Any], signature: Signature, *, key: str, group: str | None
) -> list[Mistake]:
    """Unknown and missing keys, and every value against its annotation; `group` allows nested nodes."""
    prefix = f"{key}." if key else ""
    mistakes: list[Mistake] = []
    for name, value in options.items():
        option = signature.options.get(name)
        if option is None:
            if not signature.accepts_any_option:
                mistakes += _unknown(f"{prefix}{name}", str(name), signature)
            continue
        mistakes += check_value(value, option.type, f"{prefix}{name}")
    for name, option in signature.options.items():
        if option.required and name not in options:
            mistakes.append(Mistake(key=f"{prefix}{name}", given="nothing", expected=str(option.type)))
    if group is not None:
        mistakes += _check_nested(options, key=key, group=group)
    return mistakes


def _unknown(key: str, name: str, signature: Signature) -> list[Mistake]:
    if name.lower() in DOOR_OPENERS:  # reported once, with the real reason
        return []
    expected = f"one of {listed(sorted(signature.options))}" if signature.options else "no options"
    hint = did_you_mean(name, signature.options)
    return [Mistake(key=key, given="an unknown key", expected=expected, hint=hint)]


def _check_nested(value: Any, *, key: str, group: str) -> list[Mistake]:
    """Nodes inside the options of a node."""
    items = list(enumerate(value)) if isinstance(value, list) else []
    items = list(value.items()) if isinstance(value, dict) else items
    mistakes: list[Mistake] = []
    for name, inner in items:
        if isinstance(inner, dict) and TARGET in inner:
            mistakes += check_node(inner, key=f"{key}.{name}", group=group, nested=True)
        else:
            mistakes += _check_nested(inner, key=f"{key}.{name}", group=group)
    return mistakes


def _check_root(config: dict[str, Any]) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for key, name in ROOT_NODES.items():
        signature = read_signature(ROOT, name)
        assert signature is not None
        if key == "":
            groups = {*GROUPS, *filter(None, ROOT_NODES)}
            own = {name: value for name, value in config.items() if name in signature.options}
            mistakes += check_options(own, signature, key="", group=None)
            for other in [name for name in config if name not in signature.options and name not in groups]:
                mistakes += _unknown_at_root(str(other), sorted({*groups, *signature.options}))
        elif isinstance(config.get(key), dict):
            mistakes += check_options(config[key], signature, key=key, group=None)
        else:
            expected = f"a mapping with {listed(signature.options)}"
            mistakes.append(Mistake(key=key, given=shown(config.get(key)), expected=expected))
    return mistakes


def _unknown_at_root(name: str, known: list[str]) -> list[Mistake]:
    if name.lower() in DOOR_OPENERS:
        return []
    expected = f"one of {', '.join(known)}"
    hint = did_you_mean(name, known)
    if name in GLOBAL_GROUPS:
        hint = f"a file in conf/{name}/ starts with '# @package _global_'"
    return [Mistake(key=name, given="an unknown key", expected=expected, hint=hint)]


def _check_metrics(metrics: Any) -> list[Mistake]:
    if metrics is None:  # `metric=[]`: the loss alone
        return []
    if not isinstance(metrics, dict) or TARGET in metrics:
        expected = "a mapping of figures to nodes; a metric file starts with '# @package metric.<its name>'"
        return [Mistake(key="metric", given=shown(metrics), expected=expected)]
    mistakes: list[Mistake] = []
    for name, node in metrics.items():
        mistakes += check_node(node, key=f"metric.{name}", group="metric", objects=GROUPS["metric"].objects)
        if isinstance(node, dict):
            suits = OptionType(kind="list", items=(OptionType(kind="str"),))
            mistakes += check_value(node.get("suits", []), suits, f"metric.{name}.suits")
    return mistakes


def _missing_group(group: str) -> Mistake:
    return Mistake(key=group, given="nothing", expected=f"one option of the group: {group}=<option>")
