"""Spans of characters beside a text, as annotation tools export them, turned into tags of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

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


def are_marks(values: Any) -> bool:
    """Return True for the spans of a row in any of the forms that `tags_of_marks` takes."""
    return isinstance(values, Mapping) or (
        isinstance(values, list | tuple) and any(isinstance(item, list | tuple | Mapping) for item in values)
    )


def tags_of_marks(
    text: str,
    words: Sequence[Span],
    values: Any,
    *,
    scheme: Scheme,
    unit: Unit,
    misplaced: Literal["refuse", "mend"],
    where: Mapping[str, Any],
) -> tuple[list[str], bool]:
    """The tag of each word, and whether a span had to be mended for it.

    Spans are lists of start, end and type, or records that name them, as doccano, spaCy, Prodigy and Label
    Studio write them (of the latter also all `annotations`) and as our own predictions are; or a mapping of
    lists. One that cuts a word takes all of it, and of spans that overlap the longest counts; or, as for all
    else that is wrong with a span, DataError is raised.
    """
    marks = read_marks(values, where)
    tags, wrong = _tags(text, words, marks, scheme, unit)
    others = [each for each in _SIZES if wrong and not _tags(text, words, marks, scheme, each)[1]]
    can_mend = not others and all(wrong.values())
    if not wrong or (can_mend and misplaced == "mend"):
        return tags, bool(wrong)
    hint = f"; counted in {others[0]} it fits: set task.offsets={others[0]}" if others else ""
    hint += "; task.misplaced_spans=mend takes whole words, and of spans that overlap the longest" * can_mend
    raise DataError(next(iter(wrong)) + hint, **where)


def read_marks(values: Any, where: Mapping[str, Any]) -> list[tuple[int, int, str, str | None]]:
    """Start, end, type and text, where it is given, of each span."""
    if isinstance(values, Mapping):
        columns = {name: column for name, column in values.items() if isinstance(column, list)}
        if len({*map(len, columns.values())}) > 1 or not (columns or None in values.values()):
            raise DataError(f"expected lists of as many start, end and label, given {values!r:.80}", **where)
        values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    results = [item["result"] for item in values or () if isinstance(item, Mapping) and "result" in item]
    if len(results) > 1:
        raise DataError(f"{len(results)} annotations of one text; keep one of them", **where)
    marks = {}
    for item in results[0] or () if results else values or ():
        fields = item
        if isinstance(item, Mapping):
            inner = item.get("value") if results else item
            if inner is None:
                continue  # a relation between spans
            fields = [next((inner[n] for n in names if inner.get(n) is not None), None) for names in _NAMES]
        match fields:
            case [int(start), int(end), str(kind) | [str(kind)], *text] if kind:
                marks[start, end, kind, text[0] if text else None] = True
            case _:
                raise DataError(f"expected a span [start, end, type], given {item!r:.80}", **where)
    return list(marks)


def _tags(
    text: str, words: Sequence[Span], marks: Sequence[tuple], scheme: Scheme, unit: str
) -> tuple[list[str], dict[str, bool]]:
    """Tags with all spans mended, and what is wrong with the spans, with whether it can be mended."""
    positions = {at: index for index, at in enumerate(accumulate(map(_SIZES[unit], text), initial=0))}
    form = "{type}" if scheme == "plain" else "{letter}-{type}"
    tags, wrong = [OUTSIDE] * len(words), {}
    for first, last, kind, expected in sorted(marks, key=lambda mark: (mark[0] - mark[1], mark[0])):
        start, end = positions.get(first, -1), positions.get(last, -1)
        shown = f"the span {first} to {last} ({kind})" + f", {text[start:end]!r:.60}," * (0 <= start < end)
        covered = [n for n, (begin, stop) in enumerate(words) if begin < end and start < stop]
        if not 0 <= start < end:
            wrong[f"{shown} is not in the text of {max(positions)} {unit}"] = False
        elif expected is not None and expected.strip() != text[start:end].strip():
            wrong[f"{shown} should be {expected!r:.60}"] = False
        elif not covered:
            wrong[f"{shown} holds no word"] = False
        elif any(tags[word] != OUTSIDE for word in covered):
            wrong[f"{shown} overlaps another one"] = True
        else:
            tags[covered[0] : covered[-1] + 1] = tags_over(Tag("S", kind, form), len(covered), scheme)
            begin, stop = words[covered[0]][0], words[covered[-1]][1]
            if begin < start or end < stop:
                wrong[f"{shown} cuts a word of {text[begin:stop]!r:.60}"] = True
    return tags, wrong
