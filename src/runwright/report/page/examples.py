"""The examples with the highest loss, to read and to filter."""

from __future__ import annotations

import math
from typing import Any

from runwright.report.page.markup import Markup, tag, value_text
from runwright.report.page.records import RunRecord, as_number

MAX_WORST = 50  # of each split
MAX_TEXT = 1500
FIGURES = frozenset({"row_id", "expected", "predicted", "score", "scores", "loss"})


def worst_examples(record: RunRecord) -> Markup:
    """A table of the worst of each split, with a field to search in and choices of split and group."""
    column = record.config.get("task", {}).get("group_column")
    found = [
        (split, each)
        for split, records in reversed(record.predictions.items())
        for each in sorted(records, key=_loss)[:MAX_WORST]
        if as_number(each.get("loss")) is not None
    ]
    if not found:
        return Markup()
    splits = list(dict.fromkeys(split for split, _ in found))
    groups = sorted({str(each.get(column)) for _, each in found}) if column else []
    filters = [
        tag("input", type="search", placeholder="words in these rows", aria_label="Filter examples"),
        _choice("split", splits),
        _choice("group", groups),
        tag("output", f"{len(found)} examples", class_="soft"),
    ]
    names = ["loss", "expected", "predicted", "text", "split", *([str(column)] if groups else []), "row"]
    head = tag("tr", *(tag("th", tag("button", name, type="button"), scope="col") for name in names))
    rows = [_row(record, split, each, column if groups else None) for split, each in found]
    caption = tag("caption", f"The {MAX_WORST} examples of each split with the highest loss")
    inside = tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="sortable")
    # A scrolling box must be reachable by keyboard.
    scrolled = tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label="Worst examples")
    return tag("div", tag("div", *filters, class_="filters"), scrolled, class_="box worst filterable")


def text_of(record: RunRecord, example: dict[str, Any]) -> str:
    """The texts of an example, one after the other."""
    column = record.config.get("task", {}).get("group_column")
    texts = (value for name, value in example.items() if name not in FIGURES and name != column)
    return "\n".join(value_text(text) for text in texts if isinstance(text, str | list) and text)


def _loss(example: dict[str, Any]) -> float:
    value = as_number(example.get("loss"))
    return math.inf if value is None or math.isnan(value) else -value


def _row(record: RunRecord, split: str, example: dict[str, Any], column: str | None) -> Markup:
    group = str(example.get(column)) if column else None
    text = text_of(record, example)
    shown = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} … ({len(text):,} characters)"
    cells = [
        _cell("loss", example.get("loss")),
        _cell("expected", example.get("expected")),
        _cell("predicted", example.get("predicted"), score=example.get("score")),
        tag("td", shown, class_="text"),
        tag("td", split, data_head="split"),
        *([tag("td", group, data_head="group")] if column else []),
        tag("td", value_text(example.get("row_id")), data_head="row", class_="number"),
    ]
    return tag("tr", *cells, data_split=split, data_group=group)


def _cell(name: str, value: Any, *, score: Any = None) -> Markup:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:.3f}" if isinstance(value, float) else value_text(value)
    sure = f" ({score:.0%})" if isinstance(score, float) else ""
    long = len(text) > 300
    return tag(
        "td",
        (text[:300] + "…" if long else text) + sure,
        class_="number" if is_number else None,
        data_head=name,
        data_value=value if is_number else None,
    )


def _choice(name: str, values: list[str]) -> Markup:
    if len(values) < 2:
        return Markup()
    options = (tag("option", value, value=value) for value in values)
    every = tag("option", f"every {name}", value="")
    return tag("select", every, *options, name=name, aria_label=f"Only this {name}")
