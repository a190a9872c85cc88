"""Questions, contexts and answers as the rows have them: checked, and with the characters of each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runwright.errors import DataError

NO_ANSWER = (-1, -1)
UNKNOWN = (-2, -2)  # there are answers, but none of them is in the context: nothing to train on


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerColumns:
    """The names of the columns."""

    question: str
    context: str
    answers: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What is expected of one question."""

    texts: tuple[str, ...]  # none: the question has no answer
    span: tuple[int, int]  # characters in the context of the one to train on; NO_ANSWER, or UNKNOWN


def read_answers(
    rows: Any,
    names: AnswerColumns,
    *,
    split: str,
    may_lack: bool,
    misplaced: Literal["refuse", "mend"],
) -> list[Answers] | None:
    """The answers of each row; None where the rows have no such column.

    `may_lack`: a question may have no answer. An answer that is not where `answer_start` says is refused, or
    looked for in the context; one that is nowhere still counts as an expected text. Raises DataError naming
    split, row and column.
    """
    if names.answers not in getattr(rows, "column_names", rows):
        return None
    contexts, found, column = rows[names.context][:], rows[names.answers][:], names.answers
    return [
        _answers(given, context, misplaced, {"split": split, "row": row, "column": column}, may_lack=may_lack)
        for row, (context, given) in enumerate(zip(contexts, found, strict=True))
    ]


def check_contexts(rows: Any, names: AnswerColumns, *, split: str) -> None:
    """Raise DataError for a context of which nothing is left without spaces."""
    for row, text in enumerate(rows[names.context][:]):
        if not str(text or "").strip():
            raise DataError("the context is empty", split=split, row=row, column=names.context)


def _answers(
    given: Any, context: str, misplaced: str, where: Mapping[str, Any], *, may_lack: bool
) -> Answers:
    pairs = _pairs(given, where)
    if not pairs:
        if not may_lack:
            raise DataError(
                "no answer; questions without one need task.no_answer_threshold: a number, or tune in "
                "training",
                **where,
            )
        return Answers(texts=(), span=NO_ANSWER)
    spans = [_span(text, start, context, misplaced, where) for text, start in pairs]
    known = [span for span in spans if span != UNKNOWN]
    return Answers(texts=tuple(text for text, _ in pairs), span=known[0] if known else UNKNOWN)


def _pairs(given: Any, where: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Texts with their starts, of lists by name or of a list of pairs by name."""
    if isinstance(given, list | tuple):
        given = {name: [_field(each, name, where) for each in given] for name in ("text", "answer_start")}
    texts, starts = (_field(given, name, where) for name in ("text", "answer_start"))
    if not isinstance(texts, Sequence) or not isinstance(starts, Sequence) or len(texts) != len(starts):
        raise DataError(f"expected as many answer_start as text, given {given!r:.80}", **where)
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str) or not text.strip() or not isinstance(start, int):
            raise DataError(
                f"expected a text and a whole number for each answer, given {text!r:.40}, {start!r}", **where
            )
    return list(zip(texts, starts, strict=True))


def _field(value: Any, name: str, where: Mapping[str, Any]) -> Any:
    if not isinstance(value, Mapping) or name not in value:
        raise DataError(
            "expected {text: [...], answer_start: [...]}, empty lists where there is no answer; "
            f"given {value!r:.60}",
            **where,
        )
    return value[name]


def _span(text: str, start: int, context: str, misplaced: str, where: Mapping[str, Any]) -> tuple[int, int]:
    """Characters of an answer without the spaces around it."""
    if start < 0 or context[start : start + len(text)] != text:
        if misplaced == "refuse":
            there = context[max(start, 0) : max(start, 0) + len(text)] if start >= 0 else ""
            raise DataError(
                f"the answer {text!r:.60} is not at answer_start {start}: there is {there!r:.60}; "
                "task.misplaced_answers=mend looks for such answers",
                **where,
            )
        start = nearest(text, context, start)
        if start < 0:
            return UNKNOWN
    lead = len(text) - len(text.lstrip())
    return start + lead, start + len(text.rstrip())


def nearest(text: str, context: str, start: int) -> int:
    """Where the text occurs nearest to a place, -1: nowhere."""
    places, place = [], context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return min(places, key=lambda each: abs(each - start), default=-1)
