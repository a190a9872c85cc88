"""Figures over answers to questions: exact match and F1, of all questions or of those with or without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np

from runwright.metric.class_counts import ratio


class _AnswerFigure(ABC):
    """The mean of a figure of each question.

    all: every question; answerable: those with an answer (SQuAD v2's HasAns); unanswerable: those without
    (NoAns).
    """

    suits = ("answers",)

    def __init__(self, *, of: Literal["all", "answerable", "unanswerable"]) -> None:
        self.of = of
        self._sum = 0.0
        self._count = 0

    def update(self, predictions: Any) -> None:
        """Take in some rows: answer results with `exact`, `f1` and `answerable`."""
        chosen = self._chosen(predictions)
        self._sum += float(self._values(predictions)[chosen].sum())
        self._count += int(chosen.sum())

    def merge(self, other: _AnswerFigure) -> None:
        """Take in what another instance has seen."""
        self._sum += other._sum
        self._count += other._count

    def compute(self) -> float:
        """From 0 to 1; NaN for no question."""
        return self._sum / self._count if self._count else float("nan")

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        chosen = self._chosen(predictions).astype(np.float64)
        return ratio(counts @ (self._values(predictions) * chosen), counts @ chosen, undefined=np.nan)

    def _chosen(self, predictions: Any) -> np.ndarray:
        answerable = predictions.answerable
        if self.of == "all":
            return np.ones(len(answerable), dtype=bool)
        return answerable if self.of == "answerable" else ~answerable

    @abstractmethod
    def _values(self, predictions: Any) -> np.ndarray:
        """[N] float64."""


class ExactMatch(_AnswerFigure):
    """Share of questions whose predicted answer is one of the expected ones, as the task compares them."""

    def _values(self, predictions: Any) -> np.ndarray:
        return predictions.exact


class AnswerF1(_AnswerFigure):
    """Mean over questions of the F1 with the nearest expected answer, as the task compares them."""

    def _values(self, predictions: Any) -> np.ndarray:
        return predictions.f1
