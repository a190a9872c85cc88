"""Makers of rules about several options (`at_most_one`, `forbids`, …), and the check by a list of them.

A class of the user's may give other types to names that shipped classes use, so a rule compares what can be
compared and lets everything else pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from runwright.config.options import TARGET, is_node, walk
from runwright.config.signature import Signature, read_signature
from runwright.errors import Mistake, listed, shown

Mistakes: TypeAlias = Iterator[Mistake]
When: TypeAlias = Mapping[str, Any]  # key: its value, a tuple of values, or a condition
_ABSENT = object()


def is_set(value: Any) -> bool:
    return value is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A check of the values of some keys, skipped where one is absent or already has a mistake.

    `key?` is None where it is absent. `within` a group the keys are those of each node in it, and of the
    mistakes.
    """

    keys: tuple[str, ...]
    check: Callable[..., Mistakes]
    within: str = ""


def check_rules(
    rules: Iterable[Rule], config: Mapping[str, Any], reported: Iterable[Mistake]
) -> list[Mistake]:
    """The mistakes that the rules find beside those that are reported already."""
    wrong = {mistake.key for mistake in reported}
    mistakes: list[Mistake] = []
    for rule in rules:
        nodes: list[tuple[str, Any]] = [("", config)]
        if rule.within:
            inner = walk(config.get(rule.within), rule.within)
            nodes = [(f"{key}.", value) for key, value in inner if is_node(value)]
        for prefix, node in nodes:
            values = [_value(node, prefix, key, wrong) for key in rule.keys]
            if not any(value is _ABSENT for value in values):
                mistakes += [replace(m, key=f"{prefix}{m.key}") for m in rule.check(*values)]
    return mistakes


def signature_of(node: Any) -> Signature | None:
    """The signature of the class or function that a node names."""
    module, _, definition = str(node.get(TARGET) if isinstance(node, dict) else "").rpartition(".")
    return read_signature(module, definition) if module else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def at_most_one(*keys: str, none: str = "") -> Rule:
    """Of these options at most one is set; 0 is not. `none` is expected where all are null."""

    def check(*values: Any) -> Mistakes:
        options = {key: value for key, value in zip(keys, values, strict=True) if value not in (None, 0)}
        if none and all(value is None for value in values):
            yield Mistake(keys[0], f"null, with {keys[1]} null too", none)
        if len(options) > 1:
            both = " and ".join(f"{key}={shown(value)}" for key, value in options.items())
            yield Mistake(list(options)[-1], both, "at most one of them", "set the other to null")

    return Rule(keys=keys, check=check)


def rule(check: Callable[..., Mistakes], *keys: str, within: str = "") -> Rule:
    return Rule(keys=keys, check=check, within=within)


def at_most(key: str, other: str, *, less: bool = False, hint: str = "", within: str = "") -> Rule:
    """The first number is at most (or `less` than) the second."""

    def check(value: Any, bound: Any) -> Mistakes:
        if is_number(value) and is_number(bound) and (value > bound or (less and value == bound)):
            expected = f"{'less than' if less else 'at most'} {other}, which is {shown(bound)}"
            yield Mistake(key, shown(value), expected, hint)

    return Rule(keys=(key, other), check=check, within=within)


def only(key: str, allowed: Any, when: When, why: str, hint: str = "") -> Rule:
    """The option is null, or one of the allowed values, when others have theirs."""
    choices = allowed if isinstance(allowed, tuple) else (allowed,)
    expected = f"{' or '.join(shown(choice) for choice in choices)}: {why}"
    return forbids(key, lambda value: not _is(value, (None, *choices)), when, expected, hint)


def forbids(key: str, forbidden: Any, when: When, expected: str, hint: str = "", *, within: str = "") -> Rule:
    """The option has another value, or fails another condition, when others have their values."""

    def check(value: Any, *others: Any) -> Mistakes:
        if all(map(_is, (value, *others), (forbidden, *when.values()))):
            named = [pair for pair in zip(when, others, strict=True) if not pair[0].endswith("?")]
            texts = [n if callable(when[n]) else f"{n}={shown(other).strip(chr(39))}" for n, other in named]
            problem = f"{shown(value)} with {' and '.join(texts)}" if texts else shown(value)
            yield Mistake(key, problem, expected, hint)

    return Rule(keys=(key, *when), check=check, within=within)


def matches(key: str, pattern: str, expected: str, hint: str = "", when: When | None = None) -> Rule:
    """The text fits the pattern (when others have their values)."""

    def is_other(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(pattern, value) is None

    return forbids(key, is_other, when or {}, expected, hint)


def distinct(*keys: str) -> Rule:
    """No two of these options name the same column."""

    def check(*values: Any) -> Mistakes:
        seen: dict[str, str] = {}
        for key, value in zip([key.removesuffix("?") for key in keys], values, strict=True):
            if isinstance(value, str) and seen.setdefault(value, key) != key:
                yield Mistake(key, f"{shown(value)}, the same as {seen[value]}", "another column")

    return Rule(keys=keys, check=check)


def unique(key: str, noun: str) -> Rule:
    """The list names nothing twice, and nothing without a name."""

    def check(value: Any) -> Mistakes:
        names = [str(name) for name in as_list(value)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated or not all(name.strip() for name in names):
            problem = f"{listed(repeated)} twice" if repeated else "an empty text"
            yield Mistake(key, problem, f"each {noun} once, and none that is empty")

    return Rule(keys=(key,), check=check)


def names_target(key: str, *, null: str = "", hint: str) -> Rule:
    """The option is a node with a target; `null` describes null if that is allowed too."""

    def is_other(value: Any) -> bool:
        return not (value is None and bool(null)) and TARGET not in as_dict(value)

    return forbids(key, is_other, {}, f"{null and f'{null} or '}a node with a {TARGET}", hint)


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return any(_is(value, other) for other in wanted)
    return bool(wanted(value) if callable(wanted) else value == wanted)


def _value(node: Any, prefix: str, key: str, wrong: set[str]) -> Any:
    name = key.removesuffix("?")
    # A mistake in the node's target says nothing about the node's other keys.
    full = f"{prefix}{name}"
    if any(bad == full or bad.startswith(f"{full}.") for bad in wrong):
        return _ABSENT
    value = node
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) and part in value else _ABSENT
    return None if value is _ABSENT and name != key else value
