"""Means over questions of exact match and F1, each judged as the task compares answers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from runwright.metric.weighted import weighted_mean

# answerable: those with an answer (SQuAD v2's HasAns); unanswerable: those without (NoAns)
Questions = Literal["all", "answerable", "unanswerable"]


def exact_match(predictions: Any, weights: np.ndarray, *, of: Questions) -> np.ndarray:
    """Share of questions whose predicted answer is one of the expected ones."""
    return _mean_over(of, predictions.exact, predictions.answerable, weights)


def answer_f1(predictions: Any, weights: np.ndarray, *, of: Questions) -> np.ndarray:
    """Mean of the F1 with the nearest expected answer."""
    return _mean_over(of, predictions.f1, predictions.answerable, weights)


def _mean_over(of: Questions, values: np.ndarray, answerable: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mask = {"all": answerable | True, "answerable": answerable, "unanswerable": ~answerable}[of]
    return weighted_mean(values * mask, weights, sizes=mask)
