"""From the best spans of windows to the answer of each question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runwright.metric.answer_texts import Rules, answer_f1, exact_match
from runwright.predictions import Labelled, Ragged
from runwright.task.answers.columns import Answers
from runwright.task.windows import rows_of_windows, sums_of_windows
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
    rows: Any,
    *,
    context_column: str,
    answers: Sequence[Answers] | None,
    n_best: int,
    threshold: float | None,
    rules: Rules,
) -> AnswerResults:
    """The best answer of each row over all of its windows, which come in the order of their ids.

    No answer is given where it is likelier than the best span by more than the threshold; None: never.
    `answers` are those of the rows, which give columns by name.
    """
    row_ids, firsts = rows_of_windows(predictions.example_ids)
    places = {int(row_id): place for place, row_id in enumerate(rows["row_id"])}
    order = [places[int(row_id)] for row_id in row_ids]
    contexts = rows[context_column][:]
    texts = [str(contexts[place] or "") for place in order]
    spans, scores = predictions.spans.joined(firsts), predictions.scores.joined(firsts)
    best = [
        best_spans(text, of_row, likely, n_best)
        for text, of_row, likely in zip(texts, spans.rows(), scores.rows(), strict=True)
    ]
    given = [
        text[found[0][0] : found[0][1]] if found else "" for text, (found, _) in zip(texts, best, strict=True)
    ]
    results = AnswerResults(
        example_ids=row_ids,
        predicted=_objects(given),
        spans=Ragged.of([found for found, _ in best], dtype=np.int64, width=2),
        scores=Ragged.of([likely for _, likely in best], dtype=np.float64),
        no_answer_scores=np.minimum.reduceat(predictions.no_answer_scores.astype(np.float64), firsts),
    )
    if threshold is not None:
        answered = (results.margins <= threshold).tolist()
        predicted = [text if kept else "" for text, kept in zip(given, answered, strict=True)]
        results = replace(results, predicted=_objects(predicted))
    if answers is None:
        return results
    return _judged(results, [answers[place].texts for place in order], given, rules, predictions, firsts)


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
    results: AnswerResults,
    expected: Sequence[tuple[str, ...]],
    best: Sequence[str],
    rules: Rules,
    predictions: SpanPredictions,
    firsts: np.ndarray,
) -> AnswerResults:
    def each(judge: Any, texts: Iterable[str]) -> np.ndarray:
        pairs = zip(texts, expected, strict=True)
        return np.array([judge(text, wanted, rules=rules) for text, wanted in pairs], dtype=np.float64)

    return replace(
        results,
        expected=_objects(expected),
        answerable=np.array([bool(texts) for texts in expected], dtype=bool),
        exact=each(exact_match, results.predicted),
        f1=each(answer_f1, results.predicted),
        best_exact=each(exact_match, best),
        best_f1=each(answer_f1, best),
        losses=sums_of_windows(predictions.losses, firsts),
        loss_counts=sums_of_windows(predictions.loss_counts, firsts),
    )


def _objects(values: Sequence[Any]) -> np.ndarray:
    """[N] object; cell by cell, since numpy takes tuples apart."""
    cells = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        cells[place] = value
    return cells
