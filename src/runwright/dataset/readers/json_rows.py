"""JSON Lines, or a JSON list of objects, as Arrow columns; each fault named with its row."""

from __future__ import annotations

import json
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
        lines = (line for line in lines_of(at, self.encoding) if line.strip())
        first = "" if is_resumed else next(lines, "")
        if is_resumed or (self.field is None and first.lstrip().startswith("{")):
            hint = (
                ""
                if is_resumed
                else ("; an object that holds the list needs dataset.source.field, the name of the list")
            )
            for line in chain([first] if first else [], lines):
                yield _object(_parsed(line, at, hint=hint), at)
                hint = ""
            return
        text, at.line = (first + "".join(lines)).lstrip(), None
        if self.field is None:
            yield from json_list(text, at)
            return
        try:
            content = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise DataError(f"broken JSON: {error}", file=at.address, split=at.split) from error
        fields = content if isinstance(content, dict) else {}
        if not isinstance(fields.get(self.field), list):
            lists = [name for name, value in fields.items() if isinstance(value, list)]
            problem = f"no list in field {self.field!r}; lists are in: {lists}"
            raise DataError(problem, file=at.address, split=at.split)
        for row in fields[self.field]:
            yield _object(row, at)

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
        return dict.fromkeys(files, pa.schema([(name, column.type()) for name, column in columns.items()]))

    def _require_lines(self, files: Sequence[str], split: str) -> None:
        for address in files:
            with open_bytes(address, split=split) as stream:
                is_list = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            if is_list or self.field is not None:
                raise ConfigError(
                    f"dataset.streaming: {address} is one JSON value, which can only be read as a whole; "
                    "write it as JSON Lines (an object on each line), or set dataset.streaming=false"
                )


class _Column:
    """The type of a column as far as its values have been seen."""

    def __init__(self) -> None:
        self.kind: str | None = None
        self._seen: pa.DataType = pa.null()

    def learn(self, values: list[Any]) -> int | None:
        """Take in some values; the position of the first that is of another kind, if there is one."""
        for position, value in enumerate(values):
            if value is not None:
                kind = _KINDS[type(value)]
                if self.kind is None:
                    self.kind = kind
                elif kind != self.kind:
                    return position
        pair = [pa.schema([("", self._seen)]), pa.schema([("", pa.infer_type(values))])]
        self._seen = pa.unify_schemas(pair, promote_options="permissive").field(0).type
        return None

    def type(self) -> pa.DataType:
        """The Arrow type that holds all values seen; text where all are null."""
        return pa.string() if pa.types.is_null(self._seen) else self._seen


def _learn(columns: dict[str, _Column], batch: list[dict[str, Any]], at: Position) -> None:
    """Learn the columns of the last rows before a position."""
    for name in dict.fromkeys(name for row in batch for name in row):
        values = [row.get(name) for row in batch]
        column = columns.setdefault(name, _Column())
        shown, problem, bad = name, "", None
        if holds_half_character(name):
            shown, problem = ascii(name), HALF_CHARACTER
            bad = next(number for number, row in enumerate(batch) if name in row)
        else:
            try:
                bad = column.learn(values)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                problem = f"a value is of another shape than those before, or beyond 64 bits: {error}"
                bad = _first_odd(values)
        if bad is not None:
            kind = _KINDS.get(type(values[bad]))
            problem = problem or f"{values[bad]!r} is {kind}, but rows before hold {column.kind}"
            row = at.row - len(batch) + bad
            raise DataError(problem, file=at.address, split=at.split, row=row, column=shown)


def _first_odd(values: list[Any]) -> int:
    """The position up to which Arrow finds one type for all values."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pa.array(values[:middle])
            low = middle
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            high = middle
    return high - 1


def json_list(text: str, at: Position) -> Iterator[dict[str, Any]]:
    """The objects of one list, decoded one by one so that a broken one has a row."""
    if text[:1] != "[":
        problem = "expected a list of objects, or an object on each line"
        raise DataError(problem, file=at.address, split=at.split)
    decoder, position = json.JSONDecoder(parse_constant=_refuse), _skip(text, 1)
    while text[position : position + 1] not in {"]", ""}:
        try:
            row, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise at.error(f"broken JSON: {error}") from error
        checked = _object(row, at)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            raise at.error("no comma or end of the list after this")
        yield checked
    if text[position:].strip() != "]":
        raise at.error("the list does not end, or something follows it")


def _skip(text: str, position: int) -> int:
    while text[position : position + 1].isspace():
        position += 1
    return position


def _parsed(text: str, at: Position, *, hint: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        hint = hint if isinstance(error, json.JSONDecodeError) else ""
        raise at.error(f"broken JSON: {error}{hint}") from error


def _object(row: Any, at: Position) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise at.error(f"expected an object, found {row!r:.60}")
    return row


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON; write null for a missing number")
