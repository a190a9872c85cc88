"""HTML made of elements: every text is escaped unless an element made it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

VOID = frozenset({"input", "img", "meta", "br"})


class Markup(str):
    """Text that is HTML already: only this module makes it."""

    __slots__ = ()


class Cell(NamedTuple):
    """A cell of a table that is more than its text."""

    content: object
    value: float | None = None  # what it is sorted by
    kind: str = ""  # a class of the style sheet


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element; children that are no Markup are escaped. `class_` is `class`, `data_x` is `data-x`.

    An attribute that is None or False is left out, True stands alone.
    """
    written = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        plain = key.rstrip("_").replace("_", "-")
        written.append(plain if value is True else f'{plain}="{html.escape(_clean(value), quote=True)}"')
    opened = f"<{' '.join(written)}>"
    return Markup(opened if name in VOID else f"{opened}{join(children)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Parts one after the other; those that are no Markup are escaped."""
    inner = (part if isinstance(part, Markup) else html.escape(_clean(part)) for part in parts)
    return Markup(html.escape(between).join(inner))


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    first: bool = False,
) -> Markup:
    """A table that sorts by a click on a column's name; `first` marks the first row."""
    heads = [
        tag("th", tag("button", name, type="button"), scope="col", class_="number" if name in numbers else "")
        for name in columns
    ]
    lines = [
        tag(
            "tr",
            *(
                _cell(cell, is_head=index == 0, is_number=columns[index] in numbers)
                for index, cell in enumerate(row)
            ),
            class_="first" if first and place == 0 else None,
        )
        for place, row in enumerate(rows)
    ]
    inside = tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *lines)
    return tag("div", tag("table", *inside, class_="sortable"), class_="box")


def folded(summary: str, *content: object, is_open: bool = False) -> Markup:
    """Something long behind a line."""
    return tag("details", tag("summary", summary), *content, open=is_open)


def figure_text(value: Any) -> str:
    """A number as a person reads it; anything else as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value_text(value)
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def value_text(value: Any) -> str:
    """What stands in a record as text: lists with commas, nothing for None."""
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return "" if value is None else str(value)


def _cell(given: object, *, is_head: bool, is_number: bool) -> Markup:
    cell = given if isinstance(given, Cell) else Cell(given)
    content, value = cell.content, cell.value
    if value is None and isinstance(content, int | float) and not isinstance(content, bool):
        value = float(content)
    shown = content if isinstance(content, Markup) else figure_text(content)
    kind = cell.kind or ("number" if is_number else "")
    if is_head:
        return tag("th", shown, scope="row", class_=kind, data_value=value)
    return tag("td", shown, class_=kind or None, data_value=value)


def _clean(text: object) -> str:
    """Without what no HTML may hold: NUL, other control characters, halves of surrogate pairs."""
    kept = "".join(char for char in str(text) if char in "\n\t" or (char >= " " and char != "\x7f"))
    return kept.encode("utf-8", "replace").decode("utf-8")
