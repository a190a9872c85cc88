"""JSON Lines, or a JSON list of objects, as Arrow columns; each fault named with its row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from runwright.dataset.readers.encoding import HALF_CHARACTER, holds_half_character, open_text, undecodable
from runwright.dataset.readers.paths import check_is_text
from runwright.dataset.readers.raw import BATCH_ROWS, RawSplit, split_of_files
from runwright.errors import DataError

_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def json_splits(
    paths: Mapping[str, Sequence[Path]], *, encoding: str, field: str | None
) -> dict[str, RawSplit]:
    """Rows of JSON files; a key that a row lacks is null there."""
    columns: dict[str, _Column] = {}
    for split, files in paths.items():
        for path in files:
            check_is_text(path, split=split)
            for start, batch in _batches(path, encoding, field, split=split):
                _learn(columns, batch, start, path, split)
    schema = _schema(columns)
    splits = {}
    for split, files in paths.items():
        batches_of = partial(_arrow, split=split, schema=schema, encoding=encoding, field=field)
        how = {} if field else json_lines(encoding)
        splits[split] = split_of_files(files, schema, batches_of, split=split, how=how)
    return splits


def json_lines(encoding: str) -> dict[str, Any]:
    """What it takes to find the line of a row, see `places.py`."""
    return {"reader": "json lines", "encoding": encoding}


def json_schema(rows: list[dict[str, Any]], path: Path, *, split: str) -> pa.Schema:
    """Columns and types of the first rows of a file."""
    columns: dict[str, _Column] = {}
    _learn(columns, rows, 0, path, split)
    return _schema(columns)


def json_object(text: str, path: Path, *, split: str, row: int) -> dict[str, Any]:
    """The object on a line; raises DataError where it is none."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        hint = "; an object that holds the list needs dataset.source.field, the name of the list"
        raise _broken(error, path, split, row, hint="" if row else hint) from error
    return _object(value, path, split, row)


class _Column:
    """What is known of a column's type so far."""

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


def _schema(columns: Mapping[str, _Column]) -> pa.Schema:
    return pa.schema([(name, column.type()) for name, column in columns.items()])


def _learn(
    columns: dict[str, _Column], batch: list[dict[str, Any]], start: int, path: Path, split: str
) -> None:
    for name in dict.fromkeys(name for row in batch for name in row):
        values = [row.get(name) for row in batch]
        if holds_half_character(name):
            raise _half_character([name], start, path, split, ascii(name))
        column = columns.setdefault(name, _Column())
        try:
            other = column.learn(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise _unfit(values, start, path, split, name, error) from error
        if other is not None:
            raise DataError(
                f"{values[other]!r} is {_KINDS[type(values[other])]}, but rows before hold {column.kind}",
                file=str(path), split=split, row=start + other, column=name,
            )  # fmt: skip


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


def _arrow(
    path: Path, *, split: str, schema: pa.Schema, encoding: str, field: str | None
) -> Iterator[pa.RecordBatch]:
    for start, batch in _batches(path, encoding, field, split=split):
        columns = []
        for column in schema:
            values = [row.get(column.name) for row in batch]
            try:
                columns.append(pa.array(values, column.type))
            except UnicodeEncodeError as error:
                raise _half_character(values, start, path, split, column.name) from error
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                raise _unfit(values, start, path, split, column.name, error) from error
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _unfit(values: list[Any], start: int, path: Path, split: str, column: str, error: Exception) -> DataError:
    return DataError(
        f"a value is of another shape than those before, or beyond 64 bits: {error}",
        file=str(path), split=split, row=start + _first_odd(values), column=column,
    )  # fmt: skip


def _half_character(values: list[Any], start: int, path: Path, split: str, column: str) -> DataError:
    row = next((n for n, value in enumerate(values) if holds_half_character(value)), 0)
    return DataError(HALF_CHARACTER, file=str(path), split=split, row=start + row, column=column)


def _batches(
    path: Path, encoding: str, field: str | None, *, split: str
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    rows, start = _rows(path, encoding, field, split=split), 0
    while batch := list(islice(rows, BATCH_ROWS)):
        yield start, batch
        start += len(batch)


def _rows(path: Path, encoding: str, field: str | None, *, split: str) -> Iterator[dict[str, Any]]:
    try:
        with open_text(path, encoding) as stream:
            first = stream.read(1)
            while first.isspace():
                first = stream.read(1)
            if field is None and first == "{":
                yield from _lines(first, stream, path, split)
            else:
                yield from _whole(first + stream.read(), field, path, split)
    except UnicodeDecodeError as error:
        raise undecodable(
            path, encoding, split=split, count_rows=lambda before: before.count("\n")
        ) from error


def _lines(first: str, stream: Any, path: Path, split: str) -> Iterator[dict[str, Any]]:
    number = 0
    for line in stream:
        text, first = first + line, ""
        if not text.strip():
            continue
        yield json_object(text, path, split=split, row=number)
        number += 1


def _whole(text: str, field: str | None, path: Path, split: str) -> Iterator[dict[str, Any]]:
    if field is None:
        yield from json_list(text, path, split=split)
        return
    for number, row in enumerate(_list_under(text, field, path, split)):
        yield _object(row, path, split, number)


def _list_under(text: str, field: str, path: Path, split: str) -> Iterator[Any]:
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _broken(error, path, split, None) from error
    fields = content if isinstance(content, dict) else {}
    if not isinstance(fields.get(field), list):
        lists = [name for name, value in fields.items() if isinstance(value, list)]
        raise DataError(f"no list in field {field!r}; lists are in: {lists}", file=str(path), split=split)
    yield from fields[field]


def json_list(text: str, path: Path | str, *, split: str | None = None) -> Iterator[dict[str, Any]]:
    """The objects of one list, decoded one by one so that a broken one has a row."""
    file = str(path)
    if text[:1] != "[":
        raise DataError("expected a list of objects, or an object on each line", file=file, split=split)
    decoder, position, number = json.JSONDecoder(parse_constant=_refuse), _skip(text, 1), 0
    while text[position : position + 1] not in {"]", ""}:
        try:
            row, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _broken(error, path, split, number) from error
        yield _object(row, path, split, number)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            raise DataError("no comma or end of the list after this", file=file, split=split, row=number)
        number += 1
    if text[position:].strip() != "]":
        raise DataError("the list does not end, or something follows it", file=file, split=split, row=number)


def _skip(text: str, position: int) -> int:
    while text[position : position + 1].isspace():
        position += 1
    return position


def _object(row: Any, path: Path | str, split: str | None, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"expected an object, found {row!r:.60}", file=str(path), split=split, row=number)
    return row


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON; write null for a missing number")


def _broken(
    error: Exception, path: Path | str, split: str | None, row: int | None, *, hint: str = ""
) -> DataError:
    hint = hint if isinstance(error, json.JSONDecodeError) else ""
    return DataError(f"broken JSON: {error}{hint}", file=str(path), split=split, row=row)
