"""What the readers of all formats share: from a place in a file, row by row, with the line of each."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.addresses import open_bytes, seek
from runwright.errors import ConfigError, DataError

Files = Mapping[str, Sequence[str]]
"""The addresses of the files of each split."""
Values = Any
"""One row as its reader gives it: a value for each column, of JSON an object."""
HALF_CHARACTER = "the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
_AFTER_RETURN = re.compile(rb"(?<=\r)(?=[^\n])")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(kw_only=True, slots=True)
class Position:
    """How far a file has been read; its reader moves `offset` and `line`, who takes the rows `row`."""

    address: str
    split: str | None = None
    row: int = 0  # rows before the next one
    offset: int = 0  # bytes before it, where the file is read by lines
    line: int | None = None  # where the last row begins, from 1; None: unknown, or the file has no lines

    def error(self, problem: str, *, line: int | None = None, column: str | None = None) -> DataError:
        """A complaint about the row that is being read."""
        line = line or self.line
        return DataError(problem, file=self.address, split=self.split, row=self.row, line=line, column=column)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Rows of files of one format; its fields are all that they depend on."""

    is_text = True
    types_of = "other rows are; whole numbers hold 64 bits"  # why a column has its type, for complaints

    @property
    def line_encoding(self) -> str | None:
        """The encoding of files that are read by lines."""
        return None

    def schemas(self, files: Files, *, sampled: str | None) -> dict[str, pa.Schema]:
        """The columns of each split; of the split `sampled` only the first rows count."""
        raise NotImplementedError

    def rows(self, at: Position, names: Sequence[str]) -> Iterator[Values]:
        """The rows after a place; raises DataError at the first one that cannot be read."""
        raise NotImplementedError

    def columns(self, rows: Sequence[Values], names: Sequence[str]) -> list[Sequence[Any]]:
        """The values of each column."""
        return list(zip(*rows, strict=True)) if names else []

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """The values of a column as Arrow has them."""
        return pa.array(values, kind)

    def how(self, num_columns: int) -> dict[str, Any]:  # noqa: ARG002
        """What it takes to find the line of a row, see `places.py`; empty where files have no lines."""
        return {}


def lines_of(at: Position, encoding: str) -> Iterator[str]:
    """The lines of a text file from a place on, with their ends; moves the place behind each.

    Decoded one by one, so that a row's place is a number of bytes. Where a line end takes more bytes than
    one, the file is decoded as a whole.
    """
    number = 0 if at.offset == 0 else None
    with open_bytes(at.address, split=at.split) as stream:
        if at.offset:
            seek(stream, at.offset)
        if not ends_lines_with_one_byte(encoding):
            for number, line in enumerate(_decoded_whole(stream.read(), at, encoding), start=1):
                at.line = number
                yield line
            return
        for whole in stream:
            inside = b"\r" in (whole[:-2] if whole.endswith(b"\n") else whole)
            for line in _AFTER_RETURN.split(whole) if inside else (whole,):
                # a byte-order mark is none but at the beginning of the file
                codec = "utf-8" if at.offset and encoding == "utf-8-sig" else encoding
                number = None if number is None else number + 1
                at.line = number
                try:
                    text = line.decode(codec)
                except UnicodeDecodeError as error:
                    raise _undecodable(line, error.start, at, encoding) from error
                at.offset += len(line)
                yield text


def ends_lines_with_one_byte(encoding: str) -> bool:
    """Whether lines can be found before they are decoded."""
    return encoding == "utf-8-sig" or "\n".encode(encoding) == b"\n"


def known_encoding(encoding: str) -> str:
    """The encoding by the name Python reads it with; UTF-8 may begin with a byte-order mark."""
    try:
        "".encode(encoding)
    except LookupError:
        raise ConfigError(f"dataset.source.encoding: Python knows no encoding {encoding!r}") from None
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def whole_text(at: Position, encoding: str) -> str:
    """The file as one text; raises DataError where it is not in this encoding."""
    with open_bytes(at.address, split=at.split) as stream:
        content = stream.read()
    at.offset = len(content)
    return _decoded_whole(content, at, encoding).read()


def holds_half_character(value: Any) -> bool:
    """Whether a text, or one within a list or an object, holds half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False


def first_unfit(reader: Reader, values: Iterable[Any], kind: pa.DataType) -> tuple[int, Any]:
    """The position and value of the first that Arrow cannot store as this type."""
    for position, value in enumerate(values):
        try:
            reader.array([value], kind)
        except UNFIT:
            return position, value
    raise AssertionError("each value fits alone, all together do not")


UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)


def _decoded_whole(content: bytes, at: Position, encoding: str) -> io.StringIO:
    try:
        return io.StringIO(content.decode(encoding), newline="")
    except UnicodeDecodeError as error:
        at.line = content[: error.start].decode(encoding, errors="ignore").count("\n") + 1
        raise _undecodable(content, error.start, at, encoding) from error


def _undecodable(content: bytes, place: int, at: Position, encoding: str) -> DataError:
    shown = "utf-8" if encoding == "utf-8-sig" else encoding
    mark = content[:2] if at.offset == 0 or len(content) == at.offset else b""
    return at.error(
        f"the text is not {shown} (byte 0x{content[place : place + 1].hex()}); set dataset.source.encoding "
        f"to the file's own: {_MARKS.get(mark, 'latin-1 or cp1252, perhaps')}"
    )
