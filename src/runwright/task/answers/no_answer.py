"""When a question is said to have no answer: figures at every threshold, and the best one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runwright.task.answers.results import AnswerResults

MAX_TABLE_ROWS = 201


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdCurve:
    """Figures of a split at T thresholds, rising: no answer is given where the margin is above."""

    thresholds: np.ndarray  # [T] float64
    exact: np.ndarray  # [T] float64
    f1: np.ndarray  # [T] float64
    answered: np.ndarray  # [T] float64, share of questions that get an answer

    @property
    def best(self) -> int:
        """Where F1 is best; of equals where exact match is, then the least."""
        return int(np.lexsort((-np.arange(len(self.f1)), self.exact, self.f1))[-1])


def threshold_curve(results: AnswerResults) -> ThresholdCurve | None:
    """One threshold between each two margins that differ; None without labels or without any span."""
    exact, f1, answerable = results.best_exact, results.best_f1, results.answerable
    margins = results.margins
    if exact is None or f1 is None or answerable is None or not np.isfinite(margins).any():
        return None
    order = np.argsort(margins, kind="stable")
    finite = margins[order][np.isfinite(margins[order])]
    silent = (~answerable[order]).astype(np.float64)  # what silence earns
    changes = np.append(np.flatnonzero(np.diff(finite)) + 1, len(finite))
    counts = np.insert(changes, 0, 0)  # so many rows are answered, those of the least margins
    between = (finite[counts[1:-1] - 1] + finite[counts[1:-1]]) / 2
    thresholds = np.concatenate([[finite[0] - 1], between, [finite[-1] + 1]])

    def mean(best: np.ndarray) -> np.ndarray:
        gained = np.concatenate([[0.0], np.cumsum(best[order] - silent)])
        return (silent.sum() + gained[counts]) / len(order)

    return ThresholdCurve(thresholds=thresholds, exact=mean(exact), f1=mean(f1), answered=counts / len(order))


def curve_table(curve: ThresholdCurve, *, answered: float) -> list[dict[str, Any]]:
    """Thresholds evenly chosen over the questions, the best one of this split, and the one in use.

    That is known by the share of questions that got an answer.
    """
    num = len(curve.thresholds)
    used = int(np.abs(curve.answered - answered).argmin())
    places = {*np.linspace(0, num - 1, min(num, MAX_TABLE_ROWS)).astype(int).tolist(), curve.best, used}
    return [
        {
            "threshold": float(curve.thresholds[place]),
            "exact_match": float(curve.exact[place]),
            "f1": float(curve.f1[place]),
            "answered": float(curve.answered[place]),
            "best": place == curve.best,
            "used": place == used,
        }
        for place in sorted(places)
    ]
