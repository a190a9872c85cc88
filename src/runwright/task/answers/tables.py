"""Figures of answers by kind of question."""

from __future__ import annotations

from typing import Any

import numpy as np

from runwright.task.answers.results import AnswerResults

LENGTHS = ((1, 10), (11, 30), (31, 60), (61, None))  # characters of the first expected answer


def answer_table(results: AnswerResults) -> list[dict[str, Any]]:
    """Exact match and F1 of all questions, by whether there is an answer, and by how long it is."""
    assert results.expected is not None
    assert results.answerable is not None
    lengths = np.array([len(texts[0]) if texts else 0 for texts in results.expected], dtype=np.int64)
    kinds: list[tuple[str, np.ndarray]] = [("all", np.ones(len(lengths), dtype=bool))]
    if not results.answerable.all():
        kinds += [("with an answer", results.answerable), ("without an answer", ~results.answerable)]
    for low, high in LENGTHS:
        name = f"answer of {low} to {high} characters" if high else f"answer of {low} characters and more"
        kinds.append((name, (lengths >= low) & (lengths <= (high or lengths.max(initial=0)))))
    return [_row(results, name, chosen) for name, chosen in kinds if chosen.any()]


def _row(results: AnswerResults, name: str, chosen: np.ndarray) -> dict[str, Any]:
    assert results.exact is not None
    assert results.f1 is not None
    return {
        "questions": name,
        "count": int(chosen.sum()),
        "exact_match": float(results.exact[chosen].mean()),
        "f1": float(results.f1[chosen].mean()),
        "answered": float((results.predicted[chosen] != "").mean()),
    }
