"""JSON Lines, or a JSON list of objects, as Arrow columns; each fault named with its row."""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NoReturn

import pyarrow as pa

from runwright.dataset.readers.addresses import open_bytes
from runwright.dataset.readers.reading import (
    HALF_CHARACTER,
    Files,
    Position,
    Reader,
    batches_of,
    holds_half_character,
    lines_of,
)
from runwright.errors import ConfigError, DataError

_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True, kw_only=True)
class JsonReader(Reader):
    """Objects on lines of their own, in one list, or in a list in a `field` of one object."""

    encoding: str
    field: str | None

    @property
    def line_encoding(self) -> str:
        return self.encoding

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[Any]]:
        """The values of each object; a key that it lacks is null."""
        for row in self._objects(at):
            yield [row.get(name) for name in names]

    def _objects(self, at: Position) -> Iterator[dict[str, Any]]:
        is_resumed = at.offset > 0
        lines = lines_of(at, self.encoding)
        first = "" if is_resumed else next(filter(str.strip, lines), "")
        if is_resumed or (self.field is None and first.lstrip().startswith("{")):
            hint = "" if is_resumed else "; a list inside an object needs its name as dataset.source.field"
            for line in filter(str.strip, chain([first], lines)):
                try:
                    row = json.loads(line, parse_constant=_refuse)
                except (ValueError, RecursionError) as error:
                    hint = hint if isinstance(error, json.JSONDecodeError) else ""
                    raise at.error(f"broken JSON: {error}{hint}") from error
                yield _object(row, at)
                hint = ""
        else:
            text, at.line = "\n" * (at.num_lines - 1) + first + "".join(lines), None
            yield from json_list(text, at, field=self.field)

    def schemas(self, files: Files, sampled: str | None, /) -> dict[str, pa.Schema]:
        """All keys in any split with the types of their values; of `sampled` the first 10,000 rows count."""
        columns: dict[str, _Column] = {}
        for split, addresses in files.items():
            if split == sampled:
                self._require_lines(addresses, split)
            most = 1 if split == sampled else None
            for address in addresses[:most]:
                at = Position(address=address, split=split)
                for batch in islice(batches_of(self._objects(at), at), most):
                    _learn(columns, batch, at)
        types = {name: column.type for name, column in columns.items()}
        fields = [(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()]
        return dict.fromkeys(files, pa.schema(fields))

    def _require_lines(self, files: Sequence[str], split: str) -> None:
        for address in files:
            with open_bytes(address, split=split) as stream:
                is_list = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            if is_list or self.field is not None:
                raise ConfigError(
                    f"dataset.streaming: {address} is one JSON value, which can only be read as a whole; "
                    "write it as JSON Lines (an object on each line), or set dataset.streaming=false"
                )


@dataclass(kw_only=True, slots=True)
class _Column:
    """Kind and Arrow type of the values of a column so far."""

    kind: str | None = None
    type: pa.DataType = dataclasses.field(default_factory=pa.null)


def _learn(columns: dict[str, _Column], batch: list[dict[str, Any]], at: Position) -> None:
    """Learn the columns of the last rows before a position."""
    for name in dict.fromkeys(name for row in batch for name in row):
        column, values = columns.setdefault(name, _Column()), [row.get(name) for row in batch]
        kinds = [None if value is None else _KINDS[type(value)] for value in values]
        column.kind = column.kind or next(filter(None, kinds), None)
        bad = next((n for n, kind in enumerate(kinds) if kind not in (None, column.kind)), None)
        shown, problem = name, ""
        if holds_half_character(name):
            shown, problem = ascii(name), HALF_CHARACTER
            bad = next(number for number, row in enumerate(batch) if name in row)
        elif bad is not None:
            problem = f"{values[bad]!r} is {kinds[bad]}, but rows before hold {column.kind}"
        else:
            try:
                pair = [pa.schema([("", kind)]) for kind in (column.type, pa.infer_type(values))]
                column.type = pa.unify_schemas(pair, promote_options="permissive").field(0).type
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                problem = f"a value is of another shape than those before, or beyond 64 bits: {error}"
                bad = _first_odd(values)
        if bad is not None:
            row = at.row - len(batch) + bad
            raise DataError(problem, file=at.address, split=at.split, row=row, column=shown)


def _first_odd(values: list[Any]) -> int:
    """The position up to which Arrow finds one type for all values."""

    def fails(count: int) -> bool:
        try:
            pa.array(values[:count])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return True
        return False

    return bisect_left(range(len(values)), 1, lo=1, key=fails) - 1


def json_list(text: str, at: Position, *, field: str | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a list, or of the list under `field` of an object; raises DataError for another text."""
    file, split = at.address, at.split
    try:
        content = json.loads(text, parse_constant=_refuse)
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
    for row in content:
        yield _object(row, at)


def _object(row: Any, at: Position) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise at.error(f"expected an object, found {row!r:.60}")
    return row


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON; write null for a missing number")
