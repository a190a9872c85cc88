"""The types that values of a configuration may have, and the check of a value against its type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from runwright.errors import Mistake, did_you_mean, shown
from runwright.types import NonNegativeInt, PositiveFloat, PositiveInt, Range

WHY_NOT_DEEPSPEED = (
    "DeepSpeed accumulates, clips and steps by itself, so the numbers could not be kept; "
    "launch.strategy=fsdp shards weights, gradients and optimizer state too"
)
TARGET = "_target_"
MODULE_METRIC = "runwright.metric.evaluate_adapter.module_metric"
# What others offer and Runwright refuses, with the reason and what to use instead.
REFUSED = {("launch.strategy", "deepspeed"): WHY_NOT_DEEPSPEED}
NOUNS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "none": "null",
    "any": "anything",
}
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
TYPES: dict[str, type | tuple[type, ...]] = {"bool": bool, "int": int, "float": (int, float), "str": str}
CONTAINERS = {"list": list, "dict": dict}
SPLITS = {  # names that others have for the splits
    **dict.fromkeys(("training", "trn"), "train"),
    **dict.fromkeys(("valid", "val", "dev", "development", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("testing", "tst"), "test"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionType:
    """`kind` is bool, int, float, str, none, any, list, dict, literal or union.

    `items` are the element type of a list, the value type of a dict, or the members of a union.
    """

    kind: str
    items: tuple[OptionType, ...] = ()
    choices: tuple[Any, ...] = ()
    bounds: Range | None = None

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
        limits = [(sign, getattr(self.bounds or Range(), name)) for name, sign in SIGNS.items()]
        limits = [f"{sign} {limit}" for sign, limit in limits if math.isfinite(limit)]
        return f"{NOUNS[self.kind]} {' and '.join(limits)}".rstrip()


def metric_nodes(metrics: Any) -> dict[str, Any]:
    """The nodes of metrics by name; one with a list of keys is a metric NAME_KEY for each of them."""
    nodes: dict[str, Any] = {}
    for name, node in metrics.items() if isinstance(metrics, Mapping) else ():
        is_module = isinstance(node, Mapping) and node.get(TARGET) == MODULE_METRIC
        keys = node["key"] if is_module and isinstance(node.get("key"), list) else None
        several = {f"{name}_{key}": {**node, "key": key} for key in keys or ()}
        nodes |= {name: node} if keys is None else several
    return nodes


ANY = OptionType(kind="any")
NULL = OptionType(kind="none")


def bounded(of: OptionType, bounds: Range) -> OptionType:
    """The same type within bounds; in a union, its numbers."""
    if of.kind == "union":
        return replace(of, items=tuple(bounded(item, bounds) for item in of.items))
    return replace(of, bounds=bounds) if of.kind in {"int", "float"} else of


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """A value and all values in its mappings and lists with their dotted keys, outer values first."""
    yield key, value
    items = enumerate(value) if isinstance(value, list | tuple) else ()
    for name, inner in value.items() if isinstance(value, Mapping) else items:
        yield from walk(inner, f"{key}.{name}" if key else str(name))


def with_values(value: Any, change: Callable[[str, Any], Any], key: str = "") -> Any:
    """A copy of nested mappings and lists with each value changed, which is handed over with its key."""
    if isinstance(value, Mapping):
        prefix = f"{key}." if key else ""
        return {name: with_values(inner, change, f"{prefix}{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_values(inner, change, f"{key}.{number}") for number, inner in enumerate(value)]
    return change(key, value)


def leaves_of(value: Any) -> dict[str, Any]:
    """The values at the ends of mappings and lists by dotted key; an empty container is one."""
    inner = {key: item for key, item in walk(value) if key}
    return {key: item for key, item in inner.items() if not item or not isinstance(item, dict | list)}


def is_node(value: Any) -> bool:
    return isinstance(value, dict) and TARGET in value


def check_value(value: Any, of: OptionType, key: str) -> list[Mistake]:
    """Mistakes of a plain value; nested nodes with their own target are checked elsewhere."""
    if of.kind == "any":  # no option means anything by NaN or infinity
        is_finite = not isinstance(value, float) or math.isfinite(value)
        return [] if is_finite else [Mistake(key, shown(value), "a finite number")]
    if of.kind == "union":
        outcomes = [check_value(value, member, key) for member in of.items]
        if not all(outcomes):
            return []
        for member, outcome in zip(of.items, outcomes, strict=True):
            if isinstance(value, CONTAINERS.get(member.kind, ())):  # an element is wrong: name it
                return outcome
    elif isinstance(value, CONTAINERS.get(of.kind, ())):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        items = [(f"{key}.{name}", item) for name, item in inner if of.items]
        return [mistake for name, item in items for mistake in check_value(item, of.items[0], name)]
    elif _fits(value, of):
        return []
    hints = [REFUSED.get((key, str(value).lower()), "")]
    hints += [_hint(value, member) for member in (of.items if of.kind == "union" else (of,))]
    return [Mistake(key, shown(value), str(of), next(filter(None, hints), ""))]


def as_declared(value: Any, of: OptionType) -> Any:
    """A copy of a value in which a whole number is a float where its type has float and no int."""
    types = [one for one in of.items if not check_value(value, one, "")] if of.kind == "union" else [of]
    of = min(types, key=lambda one: one.kind == "float", default=ANY)
    if of.kind == "float" and type(value) is int and abs(value) <= 2**53:  # beyond, another number
        return float(value)
    if isinstance(value, dict) and of.items and not is_node(value):
        return {name: as_declared(item, of.items[0]) for name, item in value.items()}
    if isinstance(value, list) and of.items:
        return [as_declared(item, of.items[0]) for item in value]
    return value


def _fits(value: Any, of: OptionType) -> bool:
    if of.kind == "literal":
        return any(type(value) is type(choice) and value == choice for choice in of.choices)
    if of.kind == "none":
        return value is None
    if of.kind not in TYPES or not isinstance(value, TYPES[of.kind]):
        return False
    if of.kind not in ("int", "float"):
        return True
    bounds = of.bounds or Range()
    is_within = bounds.ge <= value <= bounds.le and bounds.gt < value < bounds.lt
    return is_within and not isinstance(value, bool)


def _hint(value: Any, of: OptionType) -> str:
    if of.kind == "literal" and isinstance(value, str):
        return did_you_mean(value, [choice for choice in of.choices if isinstance(choice, str)])
    if of.kind in {"int", "float"} and isinstance(value, str):
        with suppress(ValueError):
            float(value)
            return "write it without quotes"
    if of.kind == "bool" and isinstance(value, str) and value.lower() in {"yes", "no", "on", "off"}:
        return f"write {'true' if value.lower() in {'yes', 'on'} else 'false'}"
    if of.kind == "str" and isinstance(value, bool | int | float):
        # 1e3 is 1000.0 by now, and what was written may be a class name.
        spelled = f": \"'{shown(value)}'\"" if isinstance(value, int) else ""
        return f"for text put it in quotes, as it is written{spelled}"
    if of.kind == "list" and value is not None and not isinstance(value, list | dict):
        return f"write [{value}]"
    return ""


class RootOptions(TypedDict):
    """The keys of the root that belong to no group."""

    name: str
    seed: NonNegativeInt
    output_dir: str
    resume: Literal["auto"] | None
    references: dict[str, dict[str, float]]  # metrics of others, shown beside those of the run


class SeedOptions(TypedDict):
    """`seeds`: one seed for each source of randomness."""

    data: NonNegativeInt
    init: NonNegativeInt
    dropout: NonNegativeInt


class TaskOptions(TypedDict, total=False):
    """`task`: what every task has besides the options of its class."""

    loss: Any
    pad_to: PositiveInt | Literal["maximum"] | None


class MetricOptions(TypedDict, total=False):
    """`metric.NAME`: what every metric has besides the options of its function."""

    suits: list[str]  # the kinds of problem that it can judge
    interval: bool  # computed with a bootstrap interval


class LogOptions(TypedDict):
    """`log`: what the terminal shows of a run; log.txt has everything."""

    level: Literal["debug", "info", "warning", "error"]
    progress: Literal["auto", "epochs", "off"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchOptions:
    """`launch`: how many processes share a run, and what happens when one of them fails."""

    num_processes: PositiveInt
    strategy: Literal["replicated", "fsdp"]
    max_restarts: NonNegativeInt
    timeout_seconds: PositiveFloat
    grace_seconds: PositiveFloat


class CardOptions(TypedDict):
    """`card`: what a model card says that a run cannot know."""

    language: list[str]
    license: str | None
    data_license: str | None
    tags: list[str]
    intended_use: str | None
    limits: str | None
    contact: str | None


class HubOptions(TypedDict):
    """`hub`: where the best model is pushed when a run has finished."""

    repo: str | None
    private: bool
