"""One mistake in a configuration: what was given where, what was expected, and what was probably meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_LINES = 10
MAX_SHOWN = 60
MAX_LISTED = 12
MAX_LINE = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """`str()` of it is one line of at most 400 characters."""

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
    """A question with the nearest choice, or nothing."""
    match = nearest(name, choices)
    return f"did you mean {match!r}?" if match else ""


def raise_if_any(mistakes: Sequence[Mistake]) -> None:
    """Raise one ConfigError that holds every mistake, each once."""
    if mistakes:
        raise ConfigError(*dict.fromkeys(str(mistake) for mistake in mistakes))


def report(error: ConfigError) -> str:
    """The error as at most ten lines: beyond nine mistakes, a count."""
    lines = [line for mistake in error.mistakes for line in mistake.splitlines()]
    if len(lines) < MAX_LINES:
        return "\n".join(lines)
    kept = lines[: MAX_LINES - 1]
    return "\n".join([*kept, f"… and {len(lines) - len(kept)} more mistakes ({len(lines)} in all)"])
