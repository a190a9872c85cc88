"""Cleaning steps for columns: cast, map values, add."""

import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from datasets import ClassLabel, Dataset, Value

from runwright.dataset.checks import row_error
from runwright.dataset.cleaning import passes
from runwright.dataset.cleaning.passes import Step, filtered, new_values
from runwright.errors import ConfigError
from runwright.types import Splits

_TYPES = {"string": "large_string", "int": "int64", "float": "float64", "bool": "bool"}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class CastColumns(Step):
    """Columns get another type; an empty text becomes null, 3.0 as text is "3", a list its texts in a row.

    Raises DataError naming the row of a value that cannot be one of that type.
    """

    needs_all_columns = False
    columns: dict[str, Literal["string", "int", "float", "bool"]]

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        for column in columns:
            kind = self.columns[column]
            if not _is(rows, column, _TYPES[kind]):
                cast = partial(_cast, rows=rows, kind=kind, split=split, column=column)
                rows = new_values(rows, [column], column, cast, kind=_TYPES[kind], key=["cast", kind])
        return rows


def _cast(value: Any, position: int, *, rows: Dataset, kind: str, split: str, column: str) -> Any:
    if value is None or (kind != "string" and isinstance(value, str) and not value.strip()):
        return None
    try:
        return _CONVERT[kind](value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise row_error(f"{value!r} cannot be {kind}", rows, position, split=split, column=column) from None


@dataclass(frozen=True, kw_only=True)
class MapValues(Step):
    """Values of a column become others: (value: new value), numbers and null compared as they are written.

    `others` says what becomes of a value that is not listed.
    """

    column: str
    values: dict[str, Any]
    others: Literal["keep", "drop", "error"]

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        new = {as_text(value): new for value, new in self.values.items()}
        kind = _kind_of(list(new.values()))
        if self.others == "drop":
            rows = filtered(rows, columns, lambda value: as_text(value) in new, key=[*self.key, "drop"])
        is_text = kind == "string" and isinstance(rows.features[self.column], Value | ClassLabel)
        if self.others == "keep" and not is_text and not _is(rows, self.column, _TYPES[kind]):
            problem = f"has values that are not listed and no {'text' if kind == 'string' else kind}"
            raise ConfigError(f"MapValues: {self.column!r} {problem}; say error or drop")

        def change(value: Any, position: int) -> Any:
            text = as_text(value)
            if text not in new and self.others == "error":
                problem = f"{value!r} is none of the values to map: {', '.join(map(repr, new))}"
                raise row_error(problem, rows, position, split=split, column=self.column)
            return new.get(text, text if kind == "string" and value is not None else value)

        return new_values(rows, columns, self.column, change, kind=_TYPES[kind], key=self.key)


@dataclass(frozen=True, kw_only=True)
class AddColumn(Step):
    """A new column `name`, made of the values of each row in `columns`.

    `value` is `characters` or `words`, their number; a template with columns in braces, "{title}. {text}";
    or a function of `row`, these values by column, that is annotated to return str, int, float or bool.
    """

    name: str
    columns: list[str]
    value: Any

    @property
    def key(self) -> Any:
        if isinstance(self.value, str):
            return super().key
        function, options = _function_of(self.value)
        name, code = function.__qualname__, passes.code_of(function)
        return ["AddColumn", self.name, self.columns, name, str(options), code]

    def __call__(self, splits: Splits) -> Splits:
        named = _NAMES.findall(self.value) if isinstance(self.value, str) else []
        return Step.__call__(replace(self, columns=list(dict.fromkeys([*self.columns, *named]))), splits)

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        if self.name in rows.column_names and self.name not in columns:
            raise ConfigError(f"AddColumn.name: there is a column {self.name!r} already; choose another name")
        make, kind = _maker(self.value)

        def change(*values: Any) -> Any:
            *inputs, position = values
            try:
                value = make(dict(zip(columns, inputs, strict=True)))
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                raise row_error(problem, rows, position, split=split, column=self.name) from error
            if not isinstance(value, kind | None) or (kind is not bool and isinstance(value, bool)):
                problem = f"the function gave {value!r:.60}, not {kind.__name__} as it says"
                raise row_error(problem, rows, position, split=split, column=self.name)
            return value

        dtype = _TYPES["string" if kind is str else kind.__name__]
        return new_values(rows, columns, self.name, change, kind=dtype, key=self.key)


_NAMES = re.compile(r"\{([^{}]+)\}")


def _maker(value: Any) -> tuple[Callable[[Mapping[str, Any]], Any], type]:
    """A function of a row for `AddColumn.value`, and the type of what it returns."""
    if value in ("characters", "words"):
        unit = str.split if value == "words" else str
        return lambda row: sum(len(unit(text_of(text))) for text in row.values()), int
    if isinstance(value, str):
        if not _NAMES.search(value):
            expected = "characters, words, a template such as '{title}. {text}', or a function of `row`"
            raise ConfigError(f"AddColumn.value: given {value!r}, expected {expected}")
        return lambda row: _NAMES.sub(lambda name: text_of(row[name[1]]), value), str
    function, _ = _function_of(value)
    kind = typing.get_type_hints(function).get("return")
    if kind not in (str, int, float, bool):
        expected = "expected the annotation of a function that returns str, int, float or bool"
        raise ConfigError(f"AddColumn.value: {function.__qualname__} returns {kind}, {expected}")
    return value, kind


def _function_of(value: Any) -> tuple[Any, Any]:
    return getattr(value, "func", value), getattr(value, "keywords", {})


def as_text(value: Any) -> str:
    """A value as a person would write it: 3.0 is 3, true and null are small."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def text_of(value: Any) -> str:
    """A value as one text: words of a list, or texts of its messages, with spaces between; null as none."""
    if value is None:
        return ""
    if not isinstance(value, list):
        return as_text(value)
    return " ".join(" ".join(map(str, v.values())) if isinstance(v, dict) else str(v) for v in value)


def _number(value: Any, kind: type[int] | type[float]) -> int | float:
    if isinstance(value, str) and "_" in value:  # Python takes it within numbers
        raise ValueError(value)
    number = kind(value)
    is_cut = kind is int and not isinstance(value, str) and number != value
    if is_cut or not math.isfinite(number) or (kind is int and not -(2**63) <= number < 2**63):
        raise ValueError(value)
    return number


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "string": text_of,
    "int": partial(_number, kind=int),
    "float": partial(_number, kind=float),
    "bool": lambda value: _TRUTH[as_text(value).strip().lower()],
}


def _is(rows: Dataset, column: str, dtype: str) -> bool:
    kind = rows.features[column]
    return isinstance(kind, Value) and kind.dtype == dtype


def _kind_of(values: list[Any]) -> str:
    present = [value for value in values if value is not None]
    for kind, allowed in (("bool", bool), ("string", str), ("int", int), ("float", int | float)):
        if all(isinstance(value, allowed) and (kind == "bool" or value is not True) for value in present):
            return kind
    raise ConfigError(f"MapValues: values of one type are needed, got {values}")
