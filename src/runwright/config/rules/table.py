"""The table of checks over several keys, and what they share.

Add a check to `cross_checks.py` (training) or `task_checks.py` (data, task, metrics, model): a function that
names the keys it reads. It gets their values, and is skipped where one is absent or already has a mistake
(`key?`: it gets None there instead).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from runwright.config.options import TARGET
from runwright.config.signature import Signature, read_signature
from runwright.errors import Mistake, shown

Check: TypeAlias = Callable[..., Iterator[Mistake]]
CHECKS: list[tuple[tuple[str, ...], Check]] = []
_ABSENT = object()


def reads(*keys: str) -> Callable[[Check], Check]:
    """Enter a check into the table with the keys whose values it gets; `key?`: None where it is not there."""

    def enter(check: Check) -> Check:
        CHECKS.append((keys, check))
        return check

    return enter


def check_combinations(config: dict[str, Any], known: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes of all checks whose keys are right on their own."""
    wrong = {mistake.key for mistake in known}
    config = {"metric": {}, **config}  # `metric=[]` leaves no such key
    mistakes: list[Mistake] = []
    for keys, check in CHECKS:
        values = [_value(config, key, wrong) for key in keys]
        if any(value is _ABSENT for value in values):
            continue
        mistakes.extend(_call(check, values))
    return mistakes


def _call(check: Check, values: list[Any]) -> list[Mistake]:
    try:
        return list(check(*values))
    except (TypeError, ValueError, AttributeError):
        return []  # a target of the user's own may have other values under the same name


def _value(config: dict[str, Any], key: str, wrong: set[str]) -> Any:
    name = key.removesuffix("?")
    value = _ABSENT if _touches(wrong, name) else _select(config, name)
    return None if value is _ABSENT and name != key else value


def _touches(wrong: set[str], key: str) -> bool:
    # A mistake in the node's target says nothing about the node's other keys.
    return any(bad == key or bad.startswith(key + ".") for bad in wrong)


def _select(config: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return _ABSENT
        config = config[part]
    return config


def signature_of(node: Any) -> Signature | None:
    """The signature of the class or function that a node names."""
    module, _, definition = str(node.get(TARGET)).rpartition(".")
    return read_signature(module, definition) if module else None


def at_most_one(group: str, values: dict[str, Any]) -> Iterator[Mistake]:
    """A mistake where two of a group's keys are set."""
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) > 1:
        both = " and ".join(f"{name}={shown(value)}" for name, value in given.items())
        yield Mistake(
            key=f"{group}.{list(given)[-1]}",
            given=both,
            expected="at most one of them",
            hint="set the other to null",
        )
