"""Which runs are meant: conditions such as `test/pearson>0.8`, moments such as `2d`, an order."""

from __future__ import annotations

import math
import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runwright.analysis.runs.rows import FIELDS, RunRow
from runwright.errors import ConfigError, did_you_mean, listed

_CONDITION = re.compile(r"\s*([^<>=!~]+?)\s*(>=|<=|!=|==|=|>|<|~)\s*(.*?)\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What a run must fulfil."""

    key: str
    comparison: str  # >= <= > < = !=, or ~ for "contains"
    wanted: str

    def holds(self, row: RunRow) -> bool:
        """Whether it does; never for a run that does not have the key, but for `!=`."""
        value = row.value(self.key)
        if self.comparison == "~":
            return value is not None and self.wanted.lower() in as_text(value).lower()
        if self.comparison in ("=", "==", "!="):
            return _is_equal(value, self.wanted) == (self.comparison != "!=")
        given, wanted = as_number(value), as_number(self.wanted)
        if wanted is None:
            raise ConfigError(
                f"--where {self.key}{self.comparison}{self.wanted}: expected a number at the end"
            )
        return given is not None and _COMPARE[self.comparison](given, wanted)


def parse_condition(text: str) -> Condition:
    """`optimizer.lr<=1e-4`; raises ConfigError."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--where {text!r}: given no condition, expected KEY and a value with one of > >= < <= = != ~ "
            "between them, in quotes: 'test/pearson>0.8'"
        )
    key, comparison, wanted = match.groups()
    return Condition(key=key, comparison=comparison, wanted=wanted)


def parse_since(text: str, *, now: float | None = None) -> float:
    """Seconds since 1970 of `30m`, `12h`, `2d`, `1w` ago, `today`, a date or a date with a time."""
    now = time.time() if now is None else now
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text):
        return now - float(match[1]) * _UNIT_SECONDS[match[2]]
    if text == "today":
        return datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ConfigError(
            f"--since {text!r}: given no moment, expected 30m, 12h, 2d, 1w, today, a date, or a date with a "
            "time (2026-01-31, 2026-01-31T12:00)"
        ) from None


def choose(
    rows: Iterable[RunRow],
    *,
    names: Sequence[str] = (),
    statuses: Sequence[str] = (),
    since: float = -math.inf,
    conditions: Sequence[Condition] = (),
) -> list[RunRow]:
    """The rows that fulfil everything; of several names or statuses one is enough."""
    kept = [
        row
        for row in rows
        if (not names or row.name in names)
        and (not statuses or row.status in statuses)
        and row.start_time >= since
    ]
    for condition in conditions:
        require_key(condition.key, kept)
        kept = [row for row in kept if condition.holds(row)]
    return kept


def sort(rows: list[RunRow], key: str, *, reverse: bool = False) -> list[RunRow]:
    """By a field, figure or setting, rising; those without it last in either direction."""
    require_key(key, rows)
    known = [row for row in rows if _rank(row.value(key)) is not None]
    others = [row for row in rows if _rank(row.value(key)) is None]
    return [*sorted(known, key=lambda row: _rank(row.value(key)) or (), reverse=reverse), *others]


def require_key(key: str, rows: Sequence[RunRow]) -> None:
    """Raises ConfigError with the nearest name where no run has such a key."""
    if not rows or key in FIELDS or any(key in row.metrics or key in row.settings for row in rows):
        return
    known = {*FIELDS, *(name for row in rows for name in row.metrics), *rows[-1].settings}
    hint = did_you_mean(key, known)
    figures = {name for row in rows for name in row.metrics if name.count("/") == 1}
    figures = sorted(figures, key=lambda name: (not name.startswith(("test/", "validation/")), name))
    raise ConfigError(
        f"{key}: no run has it, expected a figure ({listed(figures)}), a setting such as optimizer.lr, or "
        f"one of {', '.join(FIELDS)}" + (f"; {hint}" if hint else "")
    )


def as_number(value: Any) -> float | None:
    """A number, or a text that is one; NaN counts as none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def as_text(value: Any) -> str:
    """A value as it stands in a configuration."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _is_equal(value: Any, wanted: str) -> bool:
    given, number = as_number(value), as_number(wanted)
    if given is not None and number is not None:
        return given == number
    return as_text(value) == wanted


def _rank(value: Any) -> tuple[int, float, str] | None:
    """Numbers before texts."""
    number = as_number(value)
    if number is not None:
        return (0, number, "")
    return None if value is None or isinstance(value, float) else (1, 0.0, as_text(value))
