"""A search space in Hydra's override grammar, and the settings of a trial drawn from it.

An axis is `key: choice(a, b)`, `range(1, 9, 2)`, `interval(0, 1)`, `int(interval(1, 9))` or one of them in
`tag(log, …)`; several keys that change together are one axis: `"a,b": choice([1, x], [2, y])`. An axis with a
condition is drawn where other axes have these values.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Sweep

from runwright.errors import ConfigError

OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis: the keys that it sets and what they are drawn from."""

    keys: tuple[str, ...]
    choices: tuple[str, ...] = ()  # texts of values; of several keys each a list with a value for each
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    is_log: bool = False
    is_whole: bool = False

    @property
    def name(self) -> str:
        return ",".join(self.keys)

    def suggest(self, trial: Any) -> str:
        """The text of the value that an Optuna trial takes here."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            step = int(self.step or 1)
            low, high = int(self.low), int(self.high)
            return str(trial.suggest_int(self.name, low, high, step=step, log=self.is_log))
        return repr(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.is_log))

    def text(self, number: float) -> str:
        return str(int(number)) if self.is_whole else repr(number)

    def values(self) -> list[Any]:
        """All values for a grid, as Optuna keeps them; raises ConfigError for an interval."""
        if self.choices:
            return list(self.choices)
        step = self.step or (1 if self.is_whole else None)
        if step is None:
            raise ConfigError(f"{self.name}: given an interval, a grid takes choice(…) or range(…)")
        values = [self.low + step * index for index in range(round((self.high - self.low) / step) + 1)]
        return list(map(int, values)) if self.is_whole else values

    def overrides(self, text: str) -> list[str]:
        """What a command line would say: `key=value` for each key."""
        if len(self.keys) == 1:
            return [f"{self.keys[0]}={text}"]
        parsed: Any = OverridesParser.create().parse_override(f"values={text}").value()
        return [f"{key}={_written(value)}" for key, value in zip(self.keys, parsed, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """All axes in the order in which they are drawn, their conditions, and constraints on the values."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...] = ()  # overrides of one value, the same for all trials
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by the axis' name
    constraints: tuple[str, ...] = ()

    def draw(self, trial: Any) -> list[str] | None:
        """Overrides of an Optuna trial, drawn axis by axis; None where a constraint is broken."""
        texts: dict[str, str] = {}
        overrides: list[str] = []
        for axis in self.axes:
            if self._is_used(axis, texts):
                text = axis.suggest(trial)
                new = axis.overrides(text)
                overrides += new
                texts |= pairs(new)
        return [*self.fixed, *overrides] if self._is_allowed(texts) else None

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by axis as Optuna keeps them, those of a choice as text; raises ConfigError."""
        axes, parse = {axis.name: axis for axis in self.axes}, OverridesParser.create().parse_override
        if unknown := values.keys() - axes.keys():
            raise ConfigError(f"first: given {unknown.pop()!r}, expected axes: {', '.join(axes)}")
        return {
            name: next((t for t in axes[name].choices if value in (t, parse(f"x={t}").value())), value)
            for name, value in values.items()
        }

    def grid(self) -> Iterator[dict[str, Any]]:
        """The parameters of every trial of a grid, as Optuna's `enqueue_trial` takes them."""
        seen: set[str] = set()
        for values in itertools.product(*(axis.values() for axis in self.axes)):
            texts: dict[str, str] = {}
            params: dict[str, Any] = {}
            for axis, value in zip(self.axes, values, strict=True):
                if self._is_used(axis, texts):
                    params[axis.name] = value
                    texts |= pairs(axis.overrides(str(value)))
            if str(params) not in seen and self._is_allowed(texts):
                seen.add(str(params))
                yield params

    def examples(self) -> Iterator[list[str]]:
        """Overrides of a first trial, and of one for each other value or end of an axis."""
        values = {
            axis.name: axis.choices or (axis.text(axis.low), axis.text(axis.high)) for axis in self.axes
        }
        for name, texts in values.items():
            for text in texts if name == self.axes[0].name else texts[1:] or texts:
                wanted = {name: text, **self.conditions.get(name, {})}
                drawn: dict[str, str] = {}
                for axis in self.axes:
                    if self._is_used(axis, drawn):
                        new = axis.overrides(wanted.get(axis.name, values[axis.name][0]))
                        drawn |= pairs(new)
                yield [*self.fixed, *(f"{key}={value}" for key, value in drawn.items())]

    def _is_used(self, axis: Axis, texts: Mapping[str, str]) -> bool:
        fixed = pairs(self.fixed)
        wanted = self.conditions.get(axis.name, {})
        return all(texts.get(key, fixed.get(key)) == value for key, value in wanted.items())

    def _is_allowed(self, texts: Mapping[str, str]) -> bool:
        fixed = pairs(self.fixed)
        return all(_evaluate(text, {**fixed, **texts}) for text in self.constraints)


def read_space(
    texts: Sequence[str],
    params: Mapping[str, Any],
    *,
    conditions: Mapping[str, str] | None = None,
    constraints: Sequence[str] = (),
) -> Space:
    """The space of overrides from a command line and `params` of a file; the command line replaces these."""
    parser = OverridesParser.create()
    typed = {override.get_key_element(): override for override in parser.parse_overrides(list(texts))}
    axes, fixed = list[Axis](), list[str]()
    for key, value in params.items():
        names = tuple(name.strip() for name in key.split(","))
        if not typed.keys() & set(names):
            axis = _axis(parser.parse_override(f"{'pair' if len(names) > 1 else key}={value}"), names)
            axes += [axis] if axis else []
            fixed += [] if axis else [f"{key}={value}"]
    for key, override in typed.items():
        axis = _axis(override, (key,))
        axes += [axis] if axis else []
        fixed += [] if axis else [str(override.input_line)]
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
    order = sorted(axes, key=lambda axis: axis.name in used)
    return Space(axes=tuple(order), fixed=tuple(fixed), conditions=used, constraints=tuple(constraints))


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Keys and values of texts such as `key=value`."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _axis(override: Override, keys: tuple[str, ...]) -> Axis | None:
    """The axis of an override; None where it has one value."""
    value: Any = override.value()
    if not override.is_sweep_override():
        return None
    assert isinstance(value, Sweep)
    is_log = "log" in value.tags
    if isinstance(value, ChoiceSweep):
        texts = tuple(dict.fromkeys(map(_written, value.list)))
        if any(len(keys) > 1 and not text.startswith("[") for text in texts):
            raise ConfigError(f"{','.join(keys)}: expected choice([…], […]) with a value for each key")
        return Axis(keys=keys, choices=texts)
    if isinstance(value, RangeSweep):
        start, stop, step = value.start, value.stop, value.step
        if start is None or stop is None or not step or (count := math.ceil((stop - start) / step)) < 1:
            raise ConfigError(f"{','.join(keys)}: given a range without values, expected range(first, end)")
        numbers = sorted((float(start), float(start + step * (count - 1))))
        is_whole = all(isinstance(number, int) for number in (start, stop, step))
        if is_log:
            raise ConfigError(f"{','.join(keys)}: a range has steps; expected tag(log, interval(…))")
        return Axis(keys=keys, low=numbers[0], high=numbers[1], step=abs(float(step)), is_whole=is_whole)
    if not isinstance(value, IntervalSweep) or value.start is None or value.end is None:
        raise ConfigError(f"{','.join(keys)}: expected choice(…), range(…) or interval(…)")
    low, high = float(value.start), float(value.end)
    if not math.isfinite(high - low) or low > high or (is_log and low <= 0):
        raise ConfigError(
            f"{','.join(keys)}: expected a lower end {'above 0 ' if is_log else ''}and a higher one"
        )
    is_whole = isinstance(value.start, int) and isinstance(value.end, int)
    return Axis(keys=keys, low=low, high=high, is_log=is_log, is_whole=is_whole)


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


def _evaluate(text: str, values: Mapping[str, str]) -> Any:
    """The value of an expression of numbers, dotted keys, arithmetic and comparisons; nothing else runs."""

    def value_of(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.Name | ast.Attribute):
            key = ast.unparse(node)
            if key not in values:
                raise ConfigError(
                    f"constraints: given {key!r} in {text!r}, expected a key that is drawn or set"
                )
            return float(values[key])
        if isinstance(node, ast.UnaryOp):
            return OPERATORS[type(node.op)](value_of(node.operand))
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value_of(node.left), value_of(node.right))
        if isinstance(node, ast.Compare):
            sides = [value_of(side) for side in (node.left, *node.comparators)]
            pairs = zip(node.ops, itertools.pairwise(sides), strict=True)
            return all(OPERATORS[type(sign)](*pair) for sign, pair in pairs)
        raise KeyError(type(node))

    try:
        return value_of(ast.parse(text, mode="eval").body)
    except (KeyError, SyntaxError, ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(
            f"constraints: given {text!r}, expected numbers and keys compared, as trainer.batch_size <= 64"
        ) from error
