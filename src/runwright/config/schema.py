"""The check of a whole configuration: every key, type, range and combination, with no heavy import.

The options of a node are read from the source of its target (`signature.py`), so that there is one source of
truth. All mistakes are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runwright.config.folders import GLOBAL_GROUPS
from runwright.config.options import TARGET, check_value, is_node, walk
from runwright.config.rules.makers import check_rules
from runwright.config.rules.table import RULES
from runwright.config.signature import Signature, read_signature
from runwright.config.targets import DOOR_OPENERS, GROUPS, check_target, door_openers, objects_for, options_of
from runwright.errors import Mistake, did_you_mean, listed, shown

ROOT_NODES = {"": "RootOptions", "seeds": "SeedOptions", "log": "LogOptions", "launch": "LaunchOptions"}
ROOT_NODES |= {"card": "CardOptions", "hub": "HubOptions"}
SINCE_BEGUN = ("card", "hub")  # runs from before there were these are still read
SHARED = {"task": "TaskOptions", "metric": "MetricOptions"}


def root_signature(key: str) -> Signature:
    """Options of the root (""), of one of ROOT_NODES, or those that all targets of a group have."""
    signature = read_signature("runwright.config.options", (ROOT_NODES | SHARED)[key])
    assert signature is not None
    return signature


def nodes_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """The key and value of each group, of each metric, and of each node inside one, which is nested."""
    for group in [group for group in GROUPS if group in config]:
        if GROUPS[group].optional and config[group] is None:
            continue
        outer = [f"metric.{name}" for name in config[group] or ()] if group == "metric" else [group]
        for key, value in walk(config[group], group):
            if key in outer or is_node(value):
                yield key, value, key not in outer


def check(config: dict[str, Any]) -> list[Mistake]:
    """Mistakes in a resolved configuration of plain containers."""
    mistakes = [*door_openers(config), *_check_root(config)]
    metrics = config.get("metric") or {}  # null: the loss alone
    if not isinstance(metrics, dict) or TARGET in metrics:
        expected = "a mapping of metrics to nodes; a metric file starts with '# @package metric.<its name>'"
        mistakes.append(Mistake("metric", shown(metrics), expected))
        metrics = {}
    config = {**config, "metric": metrics}
    absent = [group for group in GROUPS if group not in config and not GROUPS[group].optional]
    mistakes += [Mistake(group, "nothing", f"one option of the group: {group}=<option>") for group in absent]
    for key, node, nested in nodes_of(config):
        mistakes += check_node(node, key=key, group=key.partition(".")[0], nested=nested)
    return mistakes + check_rules(RULES, config, mistakes)


def check_node(node: Any, *, key: str, group: str, nested: bool = False) -> list[Mistake]:
    """Mistakes of a node that names a target, without those of the nodes inside it."""
    if not is_node(node):
        problem = shown(node) if not isinstance(node, dict) else f"a mapping without {TARGET}"
        return [Mistake(key, problem, f"a node with a {TARGET}: choose {group}=<option>")]
    signature = check_target(node[TARGET], key=f"{key}.{TARGET}", group=group)
    if isinstance(signature, Mistake):
        return [signature]
    objects = objects_for(signature, group, GROUPS[group].objects, nested=nested)
    objects = signature.objects if objects is None else objects
    mistakes: list[Mistake] = []
    takes_all = signature.accepts_any_object or len(objects) <= len(signature.objects)
    if not takes_all or signature.num_required_objects > len(objects):
        problem = f"{signature.target}({', '.join(signature.objects)}, *, …)"
        before = f"the objects ({', '.join(objects)}) before the options"
        mistakes.append(Mistake(f"{key}.{TARGET}", problem, before if objects else "options after '*' only"))
    options = options_of(node, group, nested=nested)
    if group in SHARED and not nested:
        shared = {name: value for name, value in node.items() if name in GROUPS[group].shared}
        mistakes += check_options(shared, root_signature(group), key=key)
    return mistakes + check_options(options, signature, key=key, others=GROUPS[group].shared)


def check_options(
    options: dict[str, Any], signature: Signature, *, key: str, others: Iterable[str] = ()
) -> list[Mistake]:
    """Unknown and missing keys, and every value against its annotation; `others` are keys for the message."""
    prefix = f"{key}." if key else ""
    mistakes: list[Mistake] = []
    for name, value in options.items():
        if option := signature.options.get(name):
            mistakes += check_value(value, option.type, f"{prefix}{name}")
        elif not signature.accepts_any_option:
            mistakes += _unknown_key(f"{prefix}{name}", sorted([*others, *signature.options]))
    for name, option in signature.options.items():
        if option.required and name not in options:
            mistakes.append(Mistake(f"{prefix}{name}", "nothing", str(option.type)))
    return mistakes


# Options that may stand a level too high or low.
ROW_OPTIONS = ("holdout", "subset", "cleaning", "stratify_by", "streaming")


def _unknown_key(key: str, choices: list[str]) -> list[Mistake]:
    name = key.rpartition(".")[2]
    if name.lower() in DOOR_OPENERS:  # reported once, with the real reason
        return []
    expected = f"one of {listed(choices)}" if choices else "no options"
    hint = did_you_mean(name, choices)
    if name in ROW_OPTIONS:
        hint = f"did you mean dataset.{name}?"
    if key in GLOBAL_GROUPS:
        hint = f"a file in conf/{key}/ starts with '# @package _global_'"
    return [Mistake(key, "an unknown key", expected, hint)]


def _check_root(config: dict[str, Any]) -> list[Mistake]:
    nodes = [*GROUPS, *filter(None, ROOT_NODES)]
    options = {name: value for name, value in config.items() if name not in nodes}
    mistakes = check_options(options, root_signature(""), key="", others=nodes)
    for key in filter(None, ROOT_NODES):
        signature = root_signature(key)
        if isinstance(config.get(key), dict):
            mistakes += check_options(config[key], signature, key=key)
        elif key in config or key not in SINCE_BEGUN:
            expected = f"a mapping with {listed(signature.options)}"
            mistakes.append(Mistake(key, shown(config.get(key)), expected))
    return mistakes
