"""A search space in Hydra's override grammar, and the settings of a trial drawn from it.

An axis is `key: choice(a, b)`, `range(1, 9, 2)`, `interval(0, 1)`, `int(interval(1, 9))` or one of them in
`tag(log, …)`; several keys that change together are one axis: `"a,b": choice([1, x], [2, y])`. An axis with a
condition is drawn where other axes have these values.
"""

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf

from runwright.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis: the keys that it sets and Optuna's distribution that they are drawn from.

    Choices are texts of values; of several keys each is a list with a value for each.
    """

    keys: tuple[str, ...]
    distribution: Any

    @property
    def name(self) -> str:
        return ",".join(self.keys)

    @property
    def choices(self) -> tuple[str, ...]:
        """Empty for a range or interval."""
        return getattr(self.distribution, "choices", ())

    def __str__(self) -> str:
        if self.choices:
            return f"choice({', '.join(self.choices)})"
        has = self.distribution
        text = f"{has.low} to {has.high}, log" if has.log else f"{has.low} to {has.high}"
        return text if has.step is None else f"{text}, step {has.step}"

    def ends(self) -> list[Any]:
        """All choices, or both ends of a range or interval."""
        return list(self.choices) or [self.distribution.low, self.distribution.high]

    def values(self) -> list[Any]:
        """All values for a grid, as Optuna keeps them; raises ConfigError for an interval."""
        has = self.distribution
        if self.choices:
            return list(self.choices)
        if has.step is None:
            raise ConfigError(f"{self.name}: given an interval, a grid takes choice(…) or range(…)")
        return [has.low + has.step * index for index in range(round((has.high - has.low) / has.step) + 1)]

    def overrides(self, value: Any) -> list[str]:
        """Overrides as on a command line: `key=value` for each key."""
        if len(self.keys) == 1:
            return [f"{self.keys[0]}={value}"]
        parsed: Any = OverridesParser.create().parse_override(f"values={value}").value()
        texts = map(_written, parsed)
        return [f"{key}={text}" for key, text in zip(self.keys, texts, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """All axes in the order in which they are drawn, their conditions, and constraints on the values."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...] = ()  # overrides of one value, the same for all trials
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by the axis' name
    constraints: tuple[str, ...] = ()

    def overrides(self, pick: Callable[[Axis], Any]) -> list[str] | None:
        """Overrides of a trial with the value that is picked on every axis; None: a constraint is broken."""
        overrides = list(self.fixed)
        for axis in self.axes:
            if self.conditions.get(axis.name, {}).items() <= pairs(overrides).items():
                overrides += axis.overrides(pick(axis))
        values = pairs(overrides)
        return overrides if all(_holds(text, values) for text in self.constraints) else None

    def draw(self, trial: Any) -> list[str] | None:
        """Overrides of an Optuna trial, drawn axis by axis; None where a constraint is broken."""
        return self.overrides(lambda axis: trial._suggest(axis.name, axis.distribution))

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by axis as Optuna keeps them, those of a choice as text; raises ConfigError."""
        axes, parse = {axis.name: axis for axis in self.axes}, OverridesParser.create().parse_override
        if unknown := values.keys() - axes.keys():
            raise ConfigError(f"first: given {unknown.pop()!r}, expected axes: {', '.join(axes)}")
        picked: dict[str, Any] = {}
        for name, value in values.items():
            ends = axes[name].ends()
            if axes[name].choices:
                same = [text for text in ends if value in (text, parse(f"x={text}").value())]
            else:
                same = [value] if isinstance(value, int | float) and ends[0] <= value <= ends[-1] else []
            if not same:
                raise ConfigError(f"first: given {name}={value}, expected {axes[name]}")
            picked[name] = same[0]
        return picked

    def grid(self) -> list[dict[str, Any]]:
        """The parameters of every trial of a grid, as Optuna's `enqueue_trial` takes them."""
        trials: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*(axis.values() for axis in self.axes)):
            picked = dict(zip(self.axes, values, strict=True))
            if overrides := self.overrides(picked.__getitem__):
                used = pairs(overrides)
                trials[str(overrides)] = {a.name: value for a, value in picked.items() if a.keys[0] in used}
        return list(trials.values())

    def examples(self) -> Iterator[list[str]]:
        """Overrides of a first trial, and of one for each other choice or end of an axis."""
        first = {axis: axis.ends()[0] for axis in self.axes}
        conditions: dict[Axis, dict[Axis, str]] = {}  # of the axis, and of those that it depends on
        for axis in self.axes:
            wanted = self.conditions.get(axis.name, {})
            where: dict[Axis, str] = {}
            for other in [other for other in self.axes if other.name in wanted]:
                where |= conditions[other] | {other: wanted[other.name]}
            conditions[axis], values = where, axis.ends()
            for value in values if axis is self.axes[0] else values[1:] or values:
                if overrides := self.overrides({**first, **where, axis: value}.__getitem__):
                    yield overrides


def read_space(
    texts: Sequence[str],
    params: Mapping[str, Any],
    *,
    conditions: Mapping[str, str] | None = None,
    constraints: Sequence[str] = (),
    loader: ConfigLoader | None = None,
) -> Space:
    """The space of overrides from a command line and `params` of a file; the command line replaces these.

    `loader` knows the options of groups, for `glob(…)`.
    """
    parser = OverridesParser.create(loader)
    overrides = {(override.get_key_element(),): override for override in parser.parse_overrides([*texts])}
    typed = {key for (key,) in overrides}
    in_file: dict[tuple[str, ...], Override] = {}
    for key, value in params.items():
        keys = tuple(name.strip() for name in key.split(","))
        if typed.isdisjoint(keys):
            try:
                in_file[keys] = parser.parse_override(f"{key if len(keys) == 1 else 'pair'}={value}")
            except (HydraException, ValueError, TypeError, RecursionError) as error:
                reason = str(error).partition("\n")[0]
                raise ConfigError(f"params.{key}: given {value!r}, expected an axis ({reason})") from error
    overrides = in_file | overrides
    axes = [_axis(override, keys) for keys, override in overrides.items() if override.is_sweep_override()]
    fixed = [str(override.input_line) for override in overrides.values() if not override.is_sweep_override()]
    names = {axis.name for axis in axes}
    for name in conditions or {}:
        if name not in names:
            raise ConfigError(f"when: given {name!r}, expected one of the axes {', '.join(sorted(names))}")
    used = {name: pairs(map(str.strip, str(text).split(","))) for name, text in (conditions or {}).items()}
    settable = {key for axis in axes for key in axis.keys} | pairs(fixed).keys()
    for name, wanted in used.items():
        if unknown := wanted.keys() - settable:
            raise ConfigError(f"when.{name}: given {unknown.pop()!r}, expected key=value of another axis")
    # What others depend on is drawn before them.
    graph = {
        axis: [other for other in axes if not used.get(axis.name, {}).keys().isdisjoint(other.keys)]
        for axis in sorted(axes, key=lambda axis: axis.name in used)
    }
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        names = ", ".join(axis.name for axis in error.args[1])
        problem = f"conditions of {names} on one another"
        raise ConfigError(f"when: given {problem}, expected an axis without one") from error
    return Space(axes=order, fixed=tuple(fixed), conditions=used, constraints=tuple(constraints))


def num_trials(grid: Sequence[Mapping[str, Any]], budget: int | None) -> int:
    """The trials of a study, of a grid at most as many as it has; 20 where no number is given."""
    return min(budget or len(grid), len(grid)) if grid else budget or 20


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Keys and values of texts such as `key=value`."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _axis(override: Override, keys: tuple[str, ...]) -> Axis:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    name, value = ",".join(keys), override.value()
    if not isinstance(value, RangeSweep | IntervalSweep):
        is_list = isinstance(value, ChoiceSweep)  # else options of a group, by a pattern
        values = map(_written, value.list) if is_list else map(str, override.sweep_string_iterator())
        texts = tuple(dict.fromkeys(values))
        if any(len(keys) > 1 and not text.startswith("[") for text in texts):
            raise ConfigError(f"{name}: expected choice([…], […]) with a value for each key")
        return Axis(keys=keys, distribution=CategoricalDistribution(texts))
    steps: dict[str, Any] = {}
    if isinstance(value, RangeSweep):
        if not (numbers := sorted(value.range())):
            raise ConfigError(f"{name}: given a range without values, expected range(first, end)")
        low, high, steps = numbers[0], numbers[-1], {"step": abs(value.step)}
    else:
        low, high = value.start, value.end
        if low is None or high is None or not math.isfinite(high - low):
            raise ConfigError(f"{name}: expected a lower end and a higher one")
    is_whole = isinstance(low, int) and isinstance(high, int)
    distribution: Any = IntDistribution if is_whole else FloatDistribution
    try:
        return Axis(keys=keys, distribution=distribution(low, high, log="log" in value.tags, **steps))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _written(value: Any) -> str:
    """A value as an override has it; Hydra itself leaves out the quotes that letters beyond ASCII need."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}: {_written(inner)}' for key, inner in value.items())}}}"
    value = getattr(value, "text", value)  # of a quoted one
    if isinstance(value, str) and not re.fullmatch(r"[\w./+-]+", value, re.ASCII):
        return "'{}'".format(value.replace("'", "\\'"))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


@cache
def _expression(text: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    return environment.compile_expression(text, undefined_to_none=False)


def _holds(text: str, values: Mapping[str, str]) -> bool:
    """The truth of an expression over those of the values that are numbers."""
    from jinja2 import TemplateError

    numbers = OmegaConf.create()
    for key, value in values.items():
        with suppress(ValueError):
            OmegaConf.update(numbers, key, float(value), force_add=True)
    try:
        return bool(_expression(text)(OmegaConf.to_container(numbers)))
    except (TemplateError, ArithmeticError, TypeError) as error:
        raise ConfigError(
            f"constraints: given {text!r} ({error}), expected numbers and keys that are drawn or set, as "
            "trainer.batch_size <= 64"
        ) from error
