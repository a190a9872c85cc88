"""Shared code of the readers: a position in a file, the lines after it, and the interface of a format."""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.addresses import open_bytes, pickle_problem
from runwright.dataset.readers.raw import report_rows
from runwright.errors import ConfigError, DataError

Files = Mapping[str, Sequence[str]]
"""The addresses of the files of each split."""
BATCH_ROWS = 10_000  # stored together; of a stream that is read later the first so many decide on types
HALF_CHARACTER = "the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)
_BINARY = {  # first bytes of files that are no text, and what to do
    b"PK\x03\x04": "a zip archive, as Excel's .xlsx is: save the sheet as CSV (UTF-8); name an archive .zip",
    b"\xd0\xcf\x11\xe0": "an old Office file, as Excel's .xls is: save the sheet as CSV (UTF-8)",
    b"PAR1": "parquet: set dataset=parquet",
    b"\x1f\x8b": "gzip: give it a name that ends in .gz",
    b"BZh": "bzip2: give it a name that ends in .bz2",
    b"\xfd7zXZ": "xz: give it a name that ends in .xz",
    b"\x28\xb5\x2f\xfd": "Zstandard: give it a name that ends in .zst",
    b"SQLite format 3": "a database of SQLite: export the table as CSV",
    b"%PDF-": "a PDF: save its text",
    b"{\\rtf": "RTF: save it as plain text (UTF-8)",
    b"version https://git-lfs": "a pointer that Git LFS left in its place: `git lfs pull` fetches the file",
}
_NOTED_BYTES = 1 << 20  # of a file, looked at for a note on its encoding
_AFTER_RETURN = re.compile(rb"(?<=\r)(?=[^\n])")


@dataclass(kw_only=True, slots=True)
class Position:
    """Progress in a file: its reader moves `offset`, `num_lines` and `line`, the consumer of rows `row`."""

    address: str
    split: str | None = None
    row: int = 0  # rows before the next one
    offset: int = 0  # bytes before it, where the file is read by lines
    num_lines: int = 0  # lines before it, where the file is read by lines
    line: int | None = None  # where the last row begins, from 1; None: the file has no lines

    def error(self, problem: str, *, line: int | None = None, column: str | None = None) -> DataError:
        """An error about the row that is being read."""
        line = line or self.line
        return DataError(problem, file=self.address, split=self.split, row=self.row, line=line, column=column)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Rows of files of one format; its fields are all that they depend on."""

    may_be_empty = False  # a file without rows is no mistake
    types_of = "other rows are, of a stream the first; whole numbers hold 64 bits"  # why it has, for errors

    def schemas(self, files: Files, sampled: str | None, /) -> dict[str, pa.Schema]:
        """The columns of each split; of the split `sampled` only the first rows count."""
        raise NotImplementedError

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[Sequence[Any]]:
        """The values of each row after a position; raises DataError at the first unreadable row."""
        raise NotImplementedError

    def columns_of(self, address: str, /) -> Sequence[str]:
        """The names of the columns of a file."""
        return self.schemas({"": [address]}, None)[""].names

    def records(self, at: Position, /) -> Iterator[dict[str, Any]]:
        """Each row of a file by column, with values as the file has them."""
        names = self.columns_of(at.address)
        for values in self.rows(at, names):
            yield dict(zip(names, values, strict=True))

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """The values of a column as Arrow has them."""
        return pa.array(values, kind)

    def notes(self, split: str, address: str, _: pa.Schema, /) -> Iterator[str]:
        """Notes on what is read as something else than it may be meant, from the beginning of a file."""
        encoding = getattr(self, "encoding", "utf-8-sig")
        if encoding == "utf-8-sig":
            return
        with open_bytes(address, split=split) as stream:
            content = stream.read(_NOTED_BYTES)
        content = content if len(content) < _NOTED_BYTES else content.rpartition(b"\n")[0]
        with suppress(UnicodeDecodeError):
            if not content.isascii() and content.decode():
                yield f"the text is UTF-8, and read as {encoding}: see dataset.source.encoding"
                return
        if control := re.search("[\x80-\x9f]", content.decode(encoding, errors="ignore")):
            hint = "cp1252 has quotes and dashes there: see dataset.source.encoding"
            yield f"the text holds control characters such as {control[0]!r} as {encoding}; {hint}"


def lines_of(at: Position, encoding: str) -> Iterator[str]:
    """The lines of a text file after a position, with their ends; moves the position behind each.

    Decoded one by one, so that a row's position is a number of bytes. Where a line end takes more bytes than
    one, the file is decoded as a whole.
    """
    with open_bytes(at.address, split=at.split) as stream:
        stream.seek(at.offset)
        if not ends_lines_with_one_byte(encoding):
            for line in _decoded_whole(stream.read(), at, encoding):
                at.line = at.num_lines = at.num_lines + 1
                yield line
            return
        for whole in stream:
            if not at.offset:
                _require_text(whole, at, encoding)
            inside = b"\r" in (whole[:-2] if whole.endswith(b"\n") else whole)
            for line in _AFTER_RETURN.split(whole) if inside else (whole,):
                # a byte-order mark is none but at the beginning of the file
                codec = "utf-8" if at.offset and encoding == "utf-8-sig" else encoding
                at.line = at.num_lines = at.num_lines + 1
                try:
                    text = line.decode(codec)
                except UnicodeDecodeError as error:
                    raise _undecodable(error, at, encoding) from error
                at.offset += len(line)
                yield text


def ends_lines_with_one_byte(encoding: str) -> bool:
    """Return True if lines can be told apart before they are decoded."""
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


def in_chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of so many items; the last one may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def counted(rows: Iterator[Any], at: Position) -> Iterator[Any]:
    """The rows of one file; adds 1 to `at.row` as each is taken."""
    for values in rows:
        at.row += 1
        yield values


def batches_to_learn(
    files: Files, sampled: str | None, rows: Callable[[Position], Iterator[Any]]
) -> Iterator[tuple[Position, list[Any]]]:
    """Batches of all files, with the position after each; of the split `sampled` only the first one."""
    for split, addresses in files.items():
        most = 1 if split == sampled else None
        for address in addresses[:most]:
            at = Position(address=address, split=split)
            for batch in islice(in_chunks(counted(rows(at), at), BATCH_ROWS), most):
                report_rows(len(batch))
                yield at, batch


def holds_half_character(value: Any) -> bool:
    """Return True if a text, or one within a list or an object, holds half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False


def _decoded_whole(content: bytes, at: Position, encoding: str) -> io.StringIO:
    _require_text(content, at, encoding)
    try:
        return io.StringIO(content.decode(encoding), newline="")
    except UnicodeDecodeError as error:
        at.line = content[: error.start].decode(encoding, errors="ignore").count("\n") + 1
        raise _undecodable(error, at, encoding) from error


def _require_text(start: bytes, at: Position, encoding: str) -> None:
    """Raise DataError for a file that begins as one that is no text does, or as UTF-16 does."""
    if re.match(rb"\x80[\2-\5]", start):  # a pickle begins with its protocol
        raise at.error(pickle_problem(at.address), line=1)
    for mark, advice in _BINARY.items():
        if start.startswith(mark):
            raise at.error(f"the file is no text but {advice}", line=1)
    forms = {"utf-32": rb"\xff\xfe\0\0|\0\0\xfe\xff", "utf-16": rb"\xff\xfe|\xfe\xff"}
    forms |= {"utf-16-le": rb"([^\0]\0){3}", "utf-16-be": rb"(\0[^\0]){3}"}
    expected = next((name for name, form in forms.items() if re.match(form, start)), None)
    if expected and ends_lines_with_one_byte(encoding):
        raise at.error(f"the text is {expected}: set dataset.source.encoding={expected}", line=1)


def _undecodable(error: UnicodeDecodeError, at: Position, encoding: str) -> DataError:
    problem = f"the text is not {encoding.removesuffix('-sig')} (byte 0x{error.object[error.start]:02x})"
    return at.error(f"{problem}; set dataset.source.encoding, such as cp1252, gb18030 or shift_jis")
