"""What a value in a configuration may be, and the check of a value against it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from runwright.errors import Mistake, did_you_mean, shown
from runwright.types import NonNegativeInt, PositiveFloat, PositiveInt

WHY_NOT_DEEPSPEED = (
    "DeepSpeed accumulates, clips and steps by itself, so the numbers could not be kept; "
    "launch.strategy=fsdp shards weights, gradients and optimizer state too"
)


TARGET = "_target_"
# What others offer and Runwright refuses, with the reason and what to use instead.
REFUSED = {
    ("launch.strategy", "deepspeed"): WHY_NOT_DEEPSPEED,
    ("launch.strategy", "ddp"): "replicated is that, without torch's wrapper",
}
NOUNS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "none": "null",
    "any": "anything",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Limits of a number; None where there is none."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def admit(self, value: float) -> bool:
        """Whether the number lies within."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
        parts = [
            f"{sign} {getattr(self, name)}" for name, sign in signs.items() if getattr(self, name) is not None
        ]
        return " and ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionType:
    """`kind` is bool, int, float, str, none, any, list, dict, literal or union.

    `items` are the element type of a list, the value type of a dict, or the members of a union.
    """

    kind: str
    items: tuple[OptionType, ...] = ()
    choices: tuple[Any, ...] = ()
    bounds: Bounds | None = None

    def __str__(self) -> str:
        match self.kind:
            case "literal":
                return "one of " + ", ".join(shown(choice) for choice in self.choices)
            case "list":
                return f"a list, each {self.items[0]}" if self.items else "a list"
            case "dict":
                return f"a mapping of names to {self.items[0]}" if self.items else "a mapping"
            case "union":
                return " or ".join(str(item) for item in self.items)
            case _:
                noun = NOUNS[self.kind]
                return f"{noun} {self.bounds}" if self.bounds else noun


ANY = OptionType(kind="any")


def bounded(of: OptionType, bounds: Bounds) -> OptionType:
    """The same type within bounds; in a union, its numbers."""
    if of.kind == "union":
        return replace(of, items=tuple(bounded(item, bounds) for item in of.items))
    return replace(of, bounds=bounds) if of.kind in {"int", "float"} else of


def check_value(value: Any, of: OptionType, key: str) -> list[Mistake]:
    """What is wrong with a plain value; nested nodes with their own target are checked elsewhere."""
    if of.kind == "any" or (isinstance(value, dict) and TARGET in value and _may_hold_node(of)):
        return _check_free(value, key)
    if of.kind == "union":
        return _check_union(value, of, key)
    if of.kind == "list" and isinstance(value, list):
        return [
            mistake
            for place, item in enumerate(value)
            for mistake in (check_value(item, of.items[0], f"{key}.{place}") if of.items else [])
        ]
    if of.kind == "dict" and isinstance(value, dict):
        return [
            mistake
            for name, item in value.items()
            for mistake in (check_value(item, of.items[0], f"{key}.{name}") if of.items else [])
        ]
    if _fits(value, of):
        return []
    hint = (isinstance(value, str) and REFUSED.get((key, value.lower()))) or _hint(value, of)
    return [Mistake(key=key, given=shown(value), expected=str(of), hint=hint)]


def _check_free(value: Any, key: str) -> list[Mistake]:
    """Even a free value may not be NaN or infinite: no option means anything by it."""
    if isinstance(value, float) and not math.isfinite(value):
        return [Mistake(key=key, given=shown(value), expected="a finite number")]
    return []


def _check_union(value: Any, of: OptionType, key: str) -> list[Mistake]:
    outcomes = [check_value(value, member, key) for member in of.items]
    if not all(outcomes):
        return []
    container = "list" if isinstance(value, list) else "dict" if isinstance(value, dict) else None
    for member, outcome in zip(of.items, outcomes, strict=True):
        if member.kind == container:  # its elements are what is wrong: say which
            return outcome
    hints = [_hint(value, member) for member in of.items]
    return [Mistake(key=key, given=shown(value), expected=str(of), hint=next(filter(None, hints), ""))]


def _may_hold_node(of: OptionType) -> bool:
    return of.kind == "any" or any(_may_hold_node(item) for item in of.items if of.kind == "union")


def _fits(value: Any, of: OptionType) -> bool:
    match of.kind:
        case "bool":
            return isinstance(value, bool)
        case "none":
            return value is None
        case "str":
            return isinstance(value, str)
        case "literal":
            return any(type(value) is type(choice) and value == choice for choice in of.choices)
        case "int":
            right = isinstance(value, int) and not isinstance(value, bool)
        case "float":
            right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case _:
            return False
    return right and (of.bounds is None or of.bounds.admit(value))


def _hint(value: Any, of: OptionType) -> str:
    """How to write what was probably meant."""
    if of.kind == "literal" and isinstance(value, str):
        return did_you_mean(value, [choice for choice in of.choices if isinstance(choice, str)])
    if of.kind == "int" and isinstance(value, float) and math.isfinite(value) and value == int(value):
        return f"write {int(value)}"
    if of.kind in {"int", "float"} and isinstance(value, str) and _is_number(value):
        return "write it without quotes"
    if of.kind == "bool" and isinstance(value, str) and value.lower() in {"yes", "no", "on", "off"}:
        return f"write {'true' if value.lower() in {'yes', 'on'} else 'false'}"
    if of.kind == "str" and isinstance(value, bool | int | float):
        return f"for text write \"'{value}'\""
    if of.kind == "list" and value is not None and not isinstance(value, list | dict):
        return f"write [{value}]"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class RootOptions:
    """The root's own keys."""

    name: str
    seed: NonNegativeInt
    output_dir: str
    resume: Literal["auto"] | None
    references: dict[str, dict[str, float]]  # figures by others, shown beside the run's own


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedOptions:
    """`seeds`: one seed for each source of randomness."""

    data: NonNegativeInt
    init: NonNegativeInt
    dropout: NonNegativeInt


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchOptions:
    """`launch`: how many processes share a run, and what happens when one of them fails."""

    num_processes: PositiveInt
    strategy: Literal["replicated", "fsdp"]
    max_restarts: NonNegativeInt
    timeout_seconds: PositiveFloat
    grace_seconds: PositiveFloat
