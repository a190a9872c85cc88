"""Lists and mappings that were written into a cell as text: by JSON, by Python's repr, or by numpy's."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

# A quoted text is kept whole; numpy puts no comma between two of them, and a name around each list or value.
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?P<gap>\s+(?=['"]))?"""
    r"""|(?P<call>\b(?:array|np\.\w+)\()|(?P<type>,\s*dtype=[^)]*)|(?P<null>\b(?:null|nan)\b)"""
    r"""|(?P<space>(?<=[\d.])\s+(?=-?\d))|(?P<cut>\.\.\.)""",
    re.DOTALL,
)
_AS_PYTHON = {"call": "(", "type": "", "null": "None", "space": ", ", "cut": "?"}  # "?" cannot be read
WRITTEN = "a list written as text is read as a list"


def looks_written(value: Any) -> bool:
    """Return True for a text in brackets or braces."""
    return isinstance(value, str) and value.strip()[:1] + value.strip()[-1:] in ("[]", "{}")


def read_written(value: Any) -> Any:
    """The list or mapping that a text is; other values, and texts that are not for certain one, as they are.

    Not certain are words without quotes, and a list that numpy has cut.
    """
    if not looks_written(value):
        return value
    text = value.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python, about a backslash in a text
            read = ast.literal_eval(_TOKEN.sub(_as_python, text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value
    return read if isinstance(read, list | dict) else value


def _as_python(token: re.Match[str]) -> str:
    if token["text"]:
        return token["text"] + ("," if token["gap"] else "")
    return _AS_PYTHON[token.lastgroup or ""]
