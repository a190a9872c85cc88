"""Text files in a declared encoding, and where exactly decoding failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from runwright.errors import ConfigError, DataError

HALF_CHARACTER = "the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def known_encoding(encoding: str) -> str:
    """The encoding by the name Python reads it with; UTF-8 may begin with a byte-order mark."""
    try:
        "".encode(encoding)
    except LookupError:
        raise ConfigError(f"dataset.source.encoding: Python knows no encoding {encoding!r}") from None
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def open_text(path: Path, encoding: str) -> TextIO:
    """The file as text with its line ends as they are."""
    return path.open(encoding=encoding, newline="")


def holds_half_character(value: Any) -> bool:
    """Whether a text, or one within a list or an object, holds half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False


def undecodable(path: Path, encoding: str, *, split: str, count_rows: Callable[[str], int]) -> DataError:
    """The complaint about the first byte that does not decode.

    A stream decodes ahead in blocks and cannot say where: the file is read once more. `count_rows` gives the
    number of rows in the text before that byte.
    """
    content = path.read_bytes()
    start = _first_undecodable(content, encoding)
    before = content[:start].decode(encoding, errors="ignore")
    shown = "utf-8" if encoding == "utf-8-sig" else encoding
    hint = _MARKS.get(content[:2], "latin-1 or cp1252, perhaps")
    return DataError(
        f"the text is not {shown} (byte 0x{content[start : start + 1].hex()}); "
        f"set dataset.source.encoding to the file's own: {hint}",
        file=str(path),
        line=before.count("\n") + 1,
        split=split,
        row=max(count_rows(before), 0),
    )


def _first_undecodable(content: bytes, encoding: str) -> int:
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start
    return len(content)  # the file has changed since
