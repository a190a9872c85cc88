"""Answers to questions: read from rows and checked, and found in windows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from runwright.errors import DataError
from runwright.predictions import Ragged
from runwright.task.labels import WRITTEN, read_written
from runwright.task.text import RowNotes, Span, add_note, trimmed
from runwright.types import PerExample

NO_ANSWER = (-1, -1)
UNKNOWN = (-2, -2)  # there are answers, but none of them is in the context: nothing to train on


class Answers(NamedTuple):
    """The expected answers to one question."""

    texts: tuple[str, ...]  # none: the question has no answer
    span: Span  # characters in the context of the one to train on; NO_ANSWER, or UNKNOWN


def read_answers(
    rows: Any,
    *,
    column: str,
    context_column: str,
    split: str,
    may_lack: bool,
    misplaced: Literal["refuse", "mend"],
    notes: RowNotes | None = None,
) -> list[Answers]:
    """The answers of each row, which are lists by name, records by name, or texts.

    A single text has its start in the column `answer_start`, if there is one; where there is no start, the
    answer has to occur once. `may_lack`: a question may have no answer; its answers are empty, or
    `is_impossible` is true. An answer that is not where `answer_start` says is refused, or looked for in the
    context; one that is nowhere still counts as an expected text. Raises DataError naming split, row, column.
    """
    names = getattr(rows, "column_names", rows)
    values, contexts = rows[column][:], rows[context_column][:]
    starts, flags = (
        rows[name][:] if name in names else [None] * len(values) for name in ("answer_start", "is_impossible")
    )
    answers: list[Answers] = []
    for row, (context, value) in enumerate(zip(contexts, values, strict=True)):
        where: dict[str, Any] = {"split": split, "row": row, "column": column}
        read, is_impossible = read_written(value), str(flags[row]).lower() in ("true", "1")
        add_note(notes, f"{column}: {WRITTEN}", row, when=read is not value)
        is_empty = not (any(read.values()) if isinstance(read, Mapping) else read)
        pairs = [] if is_impossible and is_empty else _pairs(read, starts[row], where)
        if is_impossible and pairs:
            raise DataError("is_impossible is true, but there are answers", **where)
        if not pairs and not may_lack:
            hint = "questions without one need task.no_answer_threshold, such as 0.0"
            raise DataError(f"no answer; {hint}", **where)
        spans = [_span(text, start, context, misplaced, where) for text, start in pairs]
        for (text, start), (first, last) in zip(pairs, spans, strict=True):
            moved = start is not None and context[start : start + len(text)].strip() != context[first:last]
            sentence = NOWHERE if first < 0 else MOVED if moved else SOUGHT
            add_note(notes, sentence, row, when=moved or start is None)
        span = next((span for span in spans if span != UNKNOWN), UNKNOWN if pairs else NO_ANSWER)
        answers.append(Answers(texts=tuple(text for text, _ in pairs), span=span))
    return answers


NOWHERE = "an answer that does not occur in its context is judged, and not trained on"
MOVED = "an answer that is not at its answer_start is taken from where it occurs nearest to it"
SOUGHT = "an answer without answer_start is taken from where it occurs"


def _pairs(value: Any, start: Any, where: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """Texts with their starts, where known: of one text with its start, of texts or records."""
    texts, starts = value, start
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
    elif isinstance(value, list | tuple) and value and all(isinstance(record, Mapping) for record in value):
        texts, starts = ([record.get(name) for record in value] for name in ("text", "answer_start"))
    texts = [texts] if isinstance(texts, str) else texts
    if isinstance(texts, list | tuple) and not isinstance(starts, list | tuple):
        starts = [starts] * len(texts) if starts is None or len(texts) == 1 else []
    if (
        not isinstance(texts, list | tuple)
        or not isinstance(starts, list | tuple)
        or len(texts) != len(starts)
    ):
        problem = "expected {text: [...], answer_start: [...]}, as many answer_start as text, empty lists "
        raise DataError(f"{problem}where there is no answer; given {value!r:.80}", **where)
    pairs: list[tuple[str, int | None]] = []
    for text, first in zip(texts, starts, strict=True):
        first = int(first) if isinstance(first, float) and first.is_integer() else first
        if not isinstance(text, str) or text.isspace() or not isinstance(first, int | None):
            problem = f"expected a text and a whole number for each answer, given {text!r:.40}, {first!r}"
            raise DataError(problem, **where)
        pairs += [(text, first)] if text else []
    return pairs


def _span(text: str, start: int | None, context: str, misplaced: str, where: Mapping[str, Any]) -> Span:
    there = context[start : start + len(text)] if start is not None and start >= 0 else ""
    if there == text and start is not None:
        return trimmed(context, start, start + len(text))
    starts = [match.start() for match in re.finditer(f"(?={re.escape(text)})", context)]
    nearest = min(starts, key=lambda first: abs(first - (start or 0)), default=-1)
    if misplaced == "mend" or (start is None and len(starts) == 1):
        return trimmed(context, nearest, nearest + len(text)) if starts else UNKNOWN
    problem = f"is not at answer_start {start}: there is {there!r:.60}; it occurs"
    if start is None:
        problem = "has no answer_start and occurs"
    hint = "task.misplaced_answers=mend takes the nearest, and keeps an answer without any for evaluation"
    raise DataError(f"the answer {text!r:.60} {problem} {len(starts)} times in the context; {hint}", **where)


def tokens_of(answer: Span, offsets: Sequence[Span]) -> Span | None:
    """The first and the last token that hold characters of an answer; None where none does."""
    tokens = [n for n, (start, end) in enumerate(offsets) if start < min(end, answer[1]) and answer[0] < end]
    return (tokens[0], tokens[-1]) if tokens else None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerResults(PerExample):
    """The answers to N questions."""

    predicted: np.ndarray  # [N] texts (object), "" where there is no answer
    spans: Ragged  # [N] rows of [K, 2] int64 characters, best first
    scores: Ragged  # [N] rows of [K] float64, log-probability
    no_answer_scores: np.ndarray  # [N] float64, the least of the windows
    expected: np.ndarray | None = None  # [N] tuples of texts (object), empty where there is no answer
    answerable: np.ndarray | None = None  # [N] bool
    exact: np.ndarray | None = None  # [N] float64, of what is predicted
    f1: np.ndarray | None = None  # [N] float64

    @property
    def margins(self) -> np.ndarray:
        """By how much no answer is likelier than the best span, [N] float64; infinite without a span."""
        best = [float(row[0]) if len(row) else -np.inf for row in self.scores.rows()]
        return self.no_answer_scores - np.array(best, dtype=np.float64)
