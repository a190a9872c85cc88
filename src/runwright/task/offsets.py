"""Spans of characters beside a text, as annotation tools export them, turned into tags of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from runwright.config.tag_schemes import OUTSIDE, Scheme, Tag, tags_over
from runwright.errors import DataError
from runwright.task.text import Span

Unit = Literal["characters", "utf16", "bytes"]
_SIZES: dict[str, Callable[[str], int]] = {  # of a character
    "characters": lambda _: 1,
    "utf16": lambda character: 1 + (character > "\uffff"),
    "bytes": lambda character: len(character.encode()),
}
# Names of start, end, type and text, in the order in which they are looked for.
_NAMES = (
    ("start", "start_offset", "begin", "startOffset"),
    ("end", "end_offset", "stop", "endOffset"),
    ("label", "labels", "type", "entity_group", "entity", "tag"),
    ("text",),
)


class Mark(NamedTuple):
    """Characters `start` to `end` - 1, in the tool's unit, are of a type, and read `text` if it is given."""

    start: int
    end: int
    type: str
    text: str | None


def are_marks(values: Any) -> bool:
    """Return True for the spans of a row in any of the forms that `read_marks` takes."""
    return isinstance(values, Mapping) or (
        isinstance(values, list | tuple) and any(isinstance(item, list | tuple | Mapping) for item in values)
    )


def read_marks(values: Any, where: Mapping[str, Any]) -> list[Mark]:
    """The spans of a row: lists of start, end and type, or records that name them.

    As doccano, spaCy, Prodigy and Label Studio write them (of the latter also a whole `annotations`), a
    mapping of lists, or the spans of our own predictions. Raises DataError for anything else.
    """
    if isinstance(values, Mapping):
        columns = {name: column for name, column in values.items() if isinstance(column, list)}
        values = [dict(zip(columns, row, strict=False)) for row in zip(*columns.values(), strict=False)]
    results = [item["result"] for item in values or () if isinstance(item, Mapping) and "result" in item]
    if len(results) > 1:
        raise DataError(f"{len(results)} annotations of one text; keep one of them", **where)
    marks: list[Mark] = []
    for item in results[0] or () if results else values or ():
        if isinstance(item, Mapping):
            inner = item.get("value")
            if results and not isinstance(inner, Mapping):
                continue  # a relation between spans
            named = inner if isinstance(inner, Mapping) else item
            fields = [next((named[n] for n in names if named.get(n) is not None), None) for names in _NAMES]
        else:
            fields = [*item, None] if isinstance(item, list | tuple) and len(item) == 3 else []
        match fields:
            case [int(start), int(end), str(kind) | [str(kind)], str() | None as text] if kind:
                marks.append(Mark(start, end, kind, text))
            case _:
                raise DataError(f"expected a span [start, end, type], given {item!r:.80}", **where)
    return list(dict.fromkeys(marks))


def tags_of_marks(
    text: str,
    words: Sequence[Span],
    marks: Sequence[Mark],
    *,
    scheme: Scheme,
    unit: Unit,
    misplaced: Literal["refuse", "mend"],
    where: Mapping[str, Any],
) -> tuple[list[str], bool]:
    """The tag of each word, and whether a span had to be mended for it.

    A span that cuts a word takes all of it in, and of spans that overlap the longest counts; or, as for all
    else that is wrong with a span, DataError is raised.
    """
    tags, problem, can_mend = _tags(text, words, marks, scheme, unit)
    if problem is None:
        return tags, False
    others = [
        other for other in _SIZES if other != unit and _tags(text, words, marks, scheme, other)[1] is None
    ]
    if others:
        problem += f"; counted in {others[0]} it fits: set task.offsets={others[0]}"
    elif can_mend and misplaced == "mend":
        return tags, True
    elif can_mend:
        problem += "; task.misplaced_spans=mend takes whole words, and the longest of spans that overlap"
    raise DataError(problem, **where)


def _tags(
    text: str, words: Sequence[Span], marks: Sequence[Mark], scheme: Scheme, unit: str
) -> tuple[list[str], str | None, bool]:
    """Tags, the first problem, and whether the tags are what mending all problems gives."""
    positions = {at: index for index, at in enumerate(accumulate(map(_SIZES[unit], text), initial=0))}
    tags, problems, can_mend = [OUTSIDE] * len(words), [], True
    for mark in sorted(marks, key=lambda mark: (mark.start - mark.end, mark.start)):
        start, end = positions.get(mark.start, -1), positions.get(mark.end, -1)
        shown = f"the span {mark.start} to {mark.end} ({mark.type}), {text[start:end]!r:.60},"
        covered = [n for n, (first, last) in enumerate(words) if first < end and start < last]
        if not 0 <= start < end:
            length = f"{max(positions)} {unit}"
            problems.append(
                f"the span {mark.start} to {mark.end} ({mark.type}) is not in the text of {length}"
            )
            can_mend = False
        elif mark.text is not None and mark.text.strip() != text[start:end].strip():
            problems.append(f"{shown} should be {mark.text!r:.60}")
            can_mend = False
        elif not covered:
            problems.append(f"{shown} holds no word")
            can_mend = False
        elif any(tags[word] != OUTSIDE for word in covered):
            problems.append(f"{shown} overlaps another one")
        else:
            form = "{type}" if scheme == "plain" else "{letter}-{type}"
            whole = tags_over(Tag("S", mark.type, form), len(covered), scheme)
            tags[covered[0] : covered[-1] + 1] = whole
            first, last = words[covered[0]][0], words[covered[-1]][1]
            if first < start or last > end:
                problems.append(f"{shown} cuts a word of {text[first:last]!r:.60}")
    return tags, problems[0] if problems else None, can_mend
