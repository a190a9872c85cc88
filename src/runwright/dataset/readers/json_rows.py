"""JSON Lines, or a JSON list of objects, as Arrow columns; each fault named with its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from types import NoneType
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.addresses import open_bytes
from runwright.dataset.readers.reading import (
    HALF_CHARACTER,
    Files,
    Position,
    Reader,
    batches_to_learn,
    holds_half_character,
    lines_of,
)
from runwright.errors import ConfigError, DataError, did_you_mean, listed

_PYTHON_TYPES: dict[Callable[[pa.DataType], bool], set[type]] = {
    pa.types.is_boolean: {bool, NoneType},
    pa.types.is_integer: {int, NoneType},
    pa.types.is_floating: {int, float, NoneType},
    pa.types.is_string: {str, NoneType},
    pa.types.is_list: {list, NoneType},
    pa.types.is_struct: {dict, NoneType},
}


@dataclass(frozen=True, kw_only=True)
class JsonReader(Reader):
    """Objects on lines of their own, in one list, or in a list in a `field` of one object."""

    leaves_out = True
    encoding: str
    field: str | None
    columns: tuple[str, ...] | None = None  # None: all

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[Any]]:
        """The values of each object; a key that it lacks is null."""
        for row in self._objects(at):
            yield [row.get(name) for name in names]

    def records(self, at: Position, /) -> Iterator[dict[str, Any]]:
        return self._objects(at)

    def _objects(self, at: Position) -> Iterator[dict[str, Any]]:
        is_resumed = at.offset > 0
        lines = lines_of(at, self.encoding)
        first = "" if is_resumed else next(filter(str.strip, lines), "")
        if is_resumed or (self.field is None and first.lstrip().startswith("{")):
            for line in filter(str.strip, chain([first], lines)):
                place = at.line
                try:
                    row = json.loads(line, parse_constant=_constant)
                except (ValueError, RecursionError) as error:
                    whole = "; of one object that holds a list of rows, set dataset.source.field=NAME"
                    raise at.error(f"broken JSON: {error}{whole * (line is first)}", line=place) from error
                yield _object(row, at)
        else:
            text, at.line = "\n" * (at.num_lines - 1) + first + "".join(lines), None
            yield from json_list(text, at, field=self.field)

    def schemas(self, files: Files, sampled: str | None, /) -> dict[str, pa.Schema]:
        """All keys in any split with the types of their values; of `sampled` the first 10,000 rows count."""
        types: dict[str, pa.DataType] = {}
        others: set[str] = set()
        if sampled:
            self._require_lines(files[sampled], sampled)
        for at, batch in batches_to_learn(files, sampled, self._objects):
            for name in dict.fromkeys(name for row in batch for name in row):
                if self.columns is not None and name not in self.columns:
                    others.add(name)
                    continue
                if holds_half_character(name):
                    raise DataError(HALF_CHARACTER, file=at.address, split=at.split, column=ascii(name))
                types[name] = _widened(types.get(name, pa.null()), [row.get(name) for row in batch])
        if unknown := [name for name in self.columns or () if name not in types]:
            hint = did_you_mean(unknown[0], others) or f"others are {listed(sorted(others))}"
            raise ConfigError(f"dataset.source.columns: no row has {unknown[0]!r}; {hint}")
        fields = [(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()]
        return dict.fromkeys(files, pa.schema(fields))

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        # Arrow alone reads 2.5 as a whole number 2, true as 1.0 and "b" as ["b"].
        if pa.types.is_string(kind) and _are_spans(values):
            values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        python_types = next(types for is_kind, types in _PYTHON_TYPES.items() if is_kind(kind))
        if odd := {*map(type, values)} - python_types:
            raise pa.ArrowTypeError(f"{odd.pop().__name__} is not {kind}")
        return pa.array(values, kind)

    def _require_lines(self, files: Sequence[str], split: str) -> None:
        for address in files:
            with open_bytes(address, split=split) as stream:
                is_list = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            if is_list or self.field is not None:
                raise ConfigError(
                    f"dataset.streaming: {address} is one JSON value, which can only be read as a whole; "
                    "write it as JSON Lines (an object on each line), or set dataset.streaming=false"
                )


def _widened(kind: pa.DataType, values: list[Any]) -> pa.DataType:
    """The narrowest type for these values and those of a type; where there is none, that type."""
    if _are_spans(values) and (pa.types.is_string(kind) or any(map(_is_mixed, chain(*filter(None, values))))):
        return pa.string()
    try:
        pair = [pa.schema([("", kind)]), pa.schema([("", pa.infer_type(values))])]
        return pa.unify_schemas(pair, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Storing the rows names the value that differs from the first.
        return kind if not pa.types.is_null(kind) else pa.infer_type([v for v in values if v is not None][:1])


def _are_spans(values: Sequence[Any]) -> bool:
    """Return True for lists of lists, which are kept as JSON where one is like [0, 8, "PER"]."""
    lists = [value for value in values if value is not None]
    return bool(lists) and all(isinstance(v, list) and all(isinstance(i, list) for i in v) for v in lists)


def _is_mixed(values: list[Any]) -> bool:
    """Return True for texts among numbers, for which Arrow has no type."""
    return any(isinstance(value, str) for value in values) and any(isinstance(value, int) for value in values)


def json_list(text: str, at: Position, *, field: str | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a list, or of the list under `field` of an object; raises DataError for another text."""
    file, split = at.address, at.split
    if not text.strip():
        raise DataError("the file is empty", file=file, split=split)
    try:
        content = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise DataError(f"broken JSON: {error}", file=file, split=split, line=line) from error
    if field is not None:
        fields = content if isinstance(content, dict) else {}
        lists = [name for name, value in fields.items() if isinstance(value, list)]
        if field not in lists:
            problem = f"no list in field {field!r}; lists are in: {lists}"
            raise DataError(problem, file=file, split=split)
        content = fields[field]
    if not isinstance(content, list):
        problem = "expected a list of objects, or an object on each line"
        raise DataError(problem, file=file, split=split)
    yield from (_object(row, at) for row in content)


def _object(row: Any, at: Position) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise at.error(f"expected an object, found {row!r:.60}")
    return row


def _constant(name: str) -> None:
    """NaN, as pandas and Python write a missing number, is null; raises ValueError for what is infinite."""
    if name != "NaN":
        raise ValueError(f"{name} is not JSON; write null for a missing number")
