"""Errors that Runwright raises on purpose, how a mistake is worded, and the nearest name for a typo.

RunwrightError            shown without a traceback; `exit_code` is the process's
├── ConfigError           what the configuration says cannot work; nothing was loaded (exit 2)
├── DataError             a file, split, row or column is not what was expected (exit 3)
├── CheckpointError       a checkpoint cannot be read, written or used here (exit 4)
└── TrackingError         the tracker refuses and its policy is to fail (exit 5)

A message says what was given, what was expected and what to change.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize


class RunwrightError(Exception):
    """A mistake that a user can mend; its message is the whole explanation."""

    exit_code: int = 1


class ConfigError(RunwrightError):
    """The configuration cannot work; `mistakes` holds one line for each reason."""

    exit_code: int = 2

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class DataError(RunwrightError):
    """Data is not what was expected; the message says where, as far as that is known.

    `row` counts from 0 in the file, or in the split of a hub; without a file, in the split as loaded. `line`
    counts from 1. A task counts among the rows that it was given: `naming_rows` finds their place.
    """

    exit_code: int = 3

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        split: str | None = None,
        row: int | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        self.where = {"file": file, "line": line, "split": split, "row": row, "column": column}
        where = ", ".join(f"{name} {value!r}" for name, value in self.where.items() if value is not None)
        super().__init__(f"{where}: {problem}" if where else problem)
        self.problem = problem
        self.file, self.line, self.split, self.row, self.column = file, line, split, row, column


class CheckpointError(RunwrightError):
    """A checkpoint cannot be written, is damaged, or belongs to another run."""

    exit_code: int = 4


class TrackingError(RunwrightError):
    """The tracker does not answer or refuses, and its policy is to fail."""

    exit_code: int = 5


MAX_LINES = 10
MAX_SHOWN = 60
MAX_LISTED = 12
MAX_LINE = 400


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line of at most 400 characters, its fields in the order in which `str()` has them."""

    key: str  # a dotted key, an override as it was typed, or a file
    given: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.key}: given {self.given}, expected {self.expected}"
        line = " ".join((f"{line}; {self.hint}" if self.hint else line).split())
        return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


def shown(value: Any) -> str:
    """A value as a user would write it, short and on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def plain(text: str) -> str:
    """The text with characters that a terminal obeys, or that turn its direction, as their code."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def rounded(text: str) -> str:
    """A text with four digits of each long number, such as one that a search has drawn."""
    return re.sub(r"\b\d+\.\d{6,}(e-?\d+)?\b", lambda found: f"{float(found[0]):.4g}", text)


def listed(names: Iterable[str]) -> str:
    """Names separated by commas; beyond a dozen, how many more there are."""
    names = [str(name) for name in names]
    text = ", ".join(names[:MAX_LISTED])
    return f"{text} and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else text


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, if one is like it at all."""
    from difflib import get_close_matches

    by_lower = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The hint `did you mean 'NAME'?` with the nearest choice; empty where none is near."""
    match = nearest(name, choices)
    if match and normalize("NFC", match) == normalize("NFC", name):  # both look the same
        return f"the same letters are written {match!a} there"
    return f"did you mean {match!r}?" if match else ""


def raise_if_any(mistakes: Sequence[Mistake]) -> None:
    """Raise one ConfigError that holds every mistake, each once."""
    if mistakes:
        raise ConfigError(*dict.fromkeys(str(mistake) for mistake in mistakes))


def report(error: Exception) -> str:
    """The message to print; of a ConfigError at most ten lines, beyond nine mistakes with their number."""
    lines = str(error).splitlines()
    if len(lines) < MAX_LINES or not isinstance(error, ConfigError):
        return str(error)
    more = f"… and {len(lines) - MAX_LINES + 1} more mistakes ({len(lines)} in all)"
    return "\n".join([*lines[: MAX_LINES - 1], more])
