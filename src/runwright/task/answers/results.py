"""From the best spans of windows to the answer of each question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runwright.metric.answer_texts import Rules, answer_f1, exact_match
from runwright.predictions import Labelled, Ragged
from runwright.task.answers.columns import Answers
from runwright.task.windows import MAX_WINDOWS
from runwright.task.words import trimmed


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanPredictions(Labelled):
    """The best spans of each window."""

    example_ids: np.ndarray  # [N] int64, of windows
    spans: Ragged  # [N] rows of [K, 2] int32 characters in the context, in the order of the text
    scores: Ragged  # [N] rows of [K] float32, log-probability of both ends together
    no_answer_scores: np.ndarray  # [N] float32, log-probability that the window has no answer
    losses: np.ndarray | None  # [N] float64
    loss_counts: np.ndarray | None  # [N] float64, 0 where the place of the answer is unknown
    groups: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerResults(Labelled):
    """The answers to N questions."""

    example_ids: np.ndarray  # [N] int64, of rows
    predicted: np.ndarray  # [N] texts (object), "" where there is no answer
    spans: Ragged  # [N] rows of [K, 2] int64 characters, best first
    scores: Ragged  # [N] rows of [K] float64, log-probability
    no_answer_scores: np.ndarray  # [N] float64, the least of the windows
    expected: np.ndarray | None = None  # [N] tuples of texts (object), empty where there is no answer
    answerable: np.ndarray | None = None  # [N] bool
    exact: np.ndarray | None = None  # [N] float64, of what is predicted
    f1: np.ndarray | None = None  # [N] float64
    best_exact: np.ndarray | None = None  # [N] float64, of the best span, were it the answer
    best_f1: np.ndarray | None = None
    losses: np.ndarray | None = None
    loss_counts: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def margins(self) -> np.ndarray:
        """By how much no answer is likelier than the best span, [N] float64; infinite without a span."""
        best = [float(row[0]) if len(row) else -math.inf for row in self.scores.rows()]
        return self.no_answer_scores - np.array(best, dtype=np.float64)


def assemble_answers(
    predictions: SpanPredictions,
    contexts: Mapping[int, str],
    *,
    answers: Mapping[int, Answers] | None,
    n_best: int,
    threshold: float | None,
    rules: Rules,
) -> AnswerResults:
    """The best answer of each row over all of its windows, which come in the order of their ids.

    No answer is given where it is likelier than the best span by more than the threshold; None: never.
    """
    row_ids, firsts = np.unique(predictions.example_ids // MAX_WINDOWS, return_index=True)
    spans, scores = _by_row(predictions.spans, firsts), _by_row(predictions.scores, firsts)
    no_answer = np.minimum.reduceat(predictions.no_answer_scores.astype(np.float64), firsts)
    texts = [contexts[int(row)] for row in row_ids]
    best = [
        best_spans(text, of_row, likely, n_best)
        for text, of_row, likely in zip(texts, spans, scores, strict=True)
    ]
    given = [
        text[found[0][0] : found[0][1]] if found else "" for text, (found, _) in zip(texts, best, strict=True)
    ]
    results = AnswerResults(
        example_ids=row_ids,
        predicted=_objects(given),
        spans=_pairs([found for found, _ in best]),
        scores=Ragged.of([likely for _, likely in best], dtype=np.float64),
        no_answer_scores=no_answer,
    )
    answered = np.ones(len(row_ids), dtype=bool) if threshold is None else results.margins <= threshold
    predicted = [text if kept else "" for text, kept in zip(given, answered.tolist(), strict=True)]
    judged: dict[str, Any] = {}
    if answers is not None:
        judged = _judged([answers[int(row)].texts for row in row_ids], given, predicted, rules)
        if predictions.losses is not None and predictions.loss_counts is not None:
            judged["losses"] = np.add.reduceat(predictions.losses, firsts)
            judged["loss_counts"] = np.add.reduceat(predictions.loss_counts, firsts)
    columns = {
        name: getattr(results, name) for name in ("example_ids", "spans", "scores", "no_answer_scores")
    }
    return AnswerResults(**columns, predicted=_objects(predicted), **judged)


def best_spans(
    text: str, spans: np.ndarray, scores: np.ndarray, n_best: int
) -> tuple[list[tuple[int, int]], list[float]]:
    """The likeliest different spans, trimmed, best first; of equals the first in the text."""
    found: dict[tuple[int, int], float] = {}
    for (start, end), score in zip(spans.tolist(), scores.tolist(), strict=True):
        if not text[start:end].strip():
            continue
        kept = trimmed(text, start, end)
        found[kept] = max(score, found.get(kept, -math.inf))
    order = sorted(found, key=lambda span: (-found[span], span))[:n_best]
    return order, [found[span] for span in order]


def describe_answer(
    results: AnswerResults,
    place: int,
    *,
    context: str,
    threshold: float | None,
    all_scores: bool,
) -> dict[str, Any]:
    """The answer with its characters and probability, of the n best and no answer together."""
    spans, scores = results.spans.row(place).tolist(), results.scores.row(place)
    none = float(results.no_answer_scores[place])
    considered = scores if threshold is None else np.append(scores, none)
    shares = np.exp(considered - considered.max()) if len(considered) else considered
    shares = shares / shares.sum() if len(shares) else shares
    predicted = str(results.predicted[place])
    found: dict[str, Any] = {"predicted": predicted, "start": None, "end": None, "score": None}
    if predicted:
        found["start"], found["end"] = spans[0]
        found["score"] = round(float(shares[0]), 6)
    elif threshold is not None:
        found["score"] = round(float(shares[-1]), 6)
    if threshold is not None:
        found["no_answer_margin"] = round(none - float(scores[0]), 6) if len(scores) else None
    if results.expected is not None:
        found["expected"] = list(results.expected[place])
        assert results.exact is not None
        assert results.f1 is not None
        found |= {"exact": float(results.exact[place]), "f1": round(float(results.f1[place]), 6)}
    if all_scores:
        found["scores"] = [
            {"text": context[start:end], "start": start, "end": end, "score": round(share, 6)}
            for (start, end), share in zip(spans, shares.tolist(), strict=False)
        ]
    return found


def _judged(
    expected: Sequence[tuple[str, ...]], best: Sequence[str], predicted: Sequence[str], rules: Rules
) -> dict[str, Any]:
    def each(judge: Any, texts: Sequence[str]) -> np.ndarray:
        pairs = zip(texts, expected, strict=True)
        return np.array([judge(text, wanted, rules=rules) for text, wanted in pairs], dtype=np.float64)

    return {
        "expected": _objects(expected),
        "answerable": np.array([bool(texts) for texts in expected], dtype=bool),
        "exact": each(exact_match, predicted),
        "f1": each(answer_f1, predicted),
        "best_exact": each(exact_match, best),
        "best_f1": each(answer_f1, best),
    }


def _by_row(windows: Ragged, firsts: np.ndarray) -> list[np.ndarray]:
    """The values of all windows of a row together."""
    return np.split(windows.values, windows.starts[firsts[1:]]) if len(firsts) else []


def _objects(values: Sequence[Any]) -> np.ndarray:
    """[N] object; cell by cell, since numpy takes tuples apart."""
    cells = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        cells[place] = value
    return cells


def _pairs(rows: Sequence[Sequence[tuple[int, int]]]) -> Ragged:
    flat = [pair for row in rows for pair in row]
    values = np.array(flat, dtype=np.int64).reshape(-1, 2)
    return Ragged(values, np.array([len(row) for row in rows], dtype=np.int64))
