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
from runwright.errors import Mistake, did_you_mean, listed, shown

Mistakes: TypeAlias = Iterator[Mistake]
When: TypeAlias = Mapping[str, Any]  # key: its value, a tuple of values, or GIVEN
GIVEN = object()  # any value but null
_ABSENT = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A check of the values of some keys, skipped where one is absent or already has a mistake.

    `key?` is None there instead. `within` a group the keys are those of each node in it, and of the mistakes.
    """

    keys: tuple[str, ...]
    check: Callable[..., Mistakes]
    within: str = ""


def check_rules(rules: Iterable[Rule], config: Mapping[str, Any], known: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes that the rules find beside the known ones."""
    wrong = {mistake.key for mistake in known}
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


def at_most_one(*keys: str) -> Rule:
    """Of these options at most one is set; 0 is not."""

    def check(*values: Any) -> Mistakes:
        given = {key: value for key, value in zip(keys, values, strict=True) if value not in (None, 0)}
        if len(given) > 1:
            both = " and ".join(f"{key}={shown(value)}" for key, value in given.items())
            yield Mistake(
                key=list(given)[-1], given=both, expected="at most one of them", hint="set the other to null"
            )

    return Rule(keys=keys, check=check)


def rule(check: Callable[..., Mistakes], *keys: str, within: str = "") -> Rule:
    return Rule(keys=keys, check=check, within=within)


def exactly_one(*keys: str, expected: str = "one of the two") -> Rule:
    """One of these options is set, and no other."""

    def check(*values: Any) -> Mistakes:
        if all(value is None for value in values):
            yield Mistake(key=keys[0], given=f"null, with {keys[1]} null too", expected=expected)
        yield from at_most_one(*keys).check(*values)

    return Rule(keys=keys, check=check)


def at_most(key: str, other: str, *, less: bool = False, hint: str = "", within: str = "") -> Rule:
    """The first number is at most (or `less` than) the second."""

    def check(value: Any, bound: Any) -> Mistakes:
        if is_number(value) and is_number(bound) and (value > bound or (less and value == bound)):
            expected = f"{'less than' if less else 'at most'} {other}, which is {shown(bound)}"
            yield Mistake(key=key, given=shown(value), expected=expected, hint=hint)

    return Rule(keys=(key, other), check=check, within=within)


def only(key: str, allowed: Any, when: When, why: str, hint: str = "") -> Rule:
    """The option is null, or one of the allowed values, when others have theirs."""
    choices = allowed if isinstance(allowed, tuple) else (allowed,)
    expected = f"{' or '.join(shown(choice) for choice in choices)}: {why}"

    def check(value: Any, *conditions: Any) -> Mistakes:
        if value is not None and not _is(value, allowed):
            yield from forbids(key, GIVEN, when, expected, hint).check(value, *conditions)

    return Rule(keys=(key, *when), check=check)


def forbids(key: str, forbidden: Any, when: When, expected: str, hint: str = "") -> Rule:
    """The option has another value when others have theirs."""

    def check(value: Any, *conditions: Any) -> Mistakes:
        held = list(zip(conditions, when.values(), strict=True))
        if _is(value, forbidden) and all(_is(condition, wanted) for condition, wanted in held):
            texts = [
                name if wanted is GIVEN else f"{name}={other if isinstance(other, str) else shown(other)}"
                for name, (other, wanted) in zip(when, held, strict=True)
                if not name.endswith("?")
            ]
            given = f"{shown(value)} with {' and '.join(texts)}" if texts else shown(value)
            yield Mistake(key=key, given=given, expected=expected, hint=hint)

    return Rule(keys=(key, *when), check=check)


def matches(key: str, pattern: str, expected: str, hint: str = "", when: When | None = None) -> Rule:
    """The text fits the pattern (when others have their values)."""
    refusal = forbids(key, GIVEN, when or {}, expected, hint)

    def check(value: Any, *conditions: Any) -> Mistakes:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            yield from refusal.check(value, *conditions)

    return Rule(keys=refusal.keys, check=check)


def distinct(*keys: str) -> Rule:
    """No two of these options name the same column."""

    def check(*values: Any) -> Mistakes:
        seen: dict[str, str] = {}
        for key, value in zip([key.removesuffix("?") for key in keys], values, strict=True):
            if isinstance(value, str) and seen.setdefault(value, key) != key:
                given = f"{shown(value)}, the same as {seen[value]}"
                yield Mistake(key=key, given=given, expected="another column")

    return Rule(keys=keys, check=check)


def unique(key: str, noun: str) -> Rule:
    """The list names nothing twice, and nothing without a name."""

    def check(value: Any) -> Mistakes:
        names = [str(name) for name in as_list(value)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated or not all(name.strip() for name in names):
            given = f"{listed(repeated)} twice" if repeated else "an empty text"
            yield Mistake(key=key, given=given, expected=f"each {noun} once, and none that is empty")

    return Rule(keys=(key,), check=check)


def known_names(key: str, names: str) -> Rule:
    """The keys of a mapping are in the list of class names."""

    def check(value: Any, names_given: Any) -> Mistakes:
        choices = [str(name) for name in as_list(names_given)]
        for name in [name for name in as_dict(value) if choices and name not in choices]:
            yield Mistake(
                key=f"{key}.{name}",
                given=f"a class that {names} lacks",
                expected=listed(choices),
                hint=did_you_mean(str(name), choices),
            )

    return Rule(keys=(key, names), check=check)


def names_target(key: str, *, null: str = "", hint: str) -> Rule:
    """The option is a node with a target; `null` says what it may be instead."""

    def check(value: Any) -> Mistakes:
        if not (value is None and null) and TARGET not in as_dict(value):
            expected = f"{null and f'{null} or '}a node with a {TARGET}"
            yield Mistake(key=key, given=shown(value), expected=expected, hint=hint)

    return Rule(keys=(key,), check=check)


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return any(_is(value, other) for other in wanted)
    return value is not None if wanted is GIVEN else value == wanted


def _value(node: Any, prefix: str, key: str, wrong: set[str]) -> Any:
    name = key.removesuffix("?")
    # A mistake in the node's target says nothing about the node's other keys.
    full = f"{prefix}{name}"
    value = _ABSENT if any(bad == full or bad.startswith(f"{full}.") for bad in wrong) else node
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) and part in value else _ABSENT
    return None if value is _ABSENT and name != key else value
