"""Predictions as a person would write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runwright.types import Predictions


def describe_labels(
    predictions: Predictions,
    place: int,
    *,
    problem: str,
    label_names: Sequence[str],
    all_scores: bool,
) -> dict[str, Any]:
    """`predicted`, `expected`, `score` and on demand `scores` of one example.

    The score of a single label is its probability; of a set of labels there is one for each.
    """
    predicted, scores = predictions.predicted[place], predictions.scores
    described: dict[str, Any] = {"predicted": name_of(predicted, problem=problem, label_names=label_names)}
    if predictions.expected is not None:
        expected = predictions.expected[place]
        described["expected"] = name_of(expected, problem=problem, label_names=label_names)
    if scores is None:
        return described
    rounded = [round(float(score), 6) for score in scores[place]]
    if problem == "single_label":
        described["score"] = max(rounded)
    else:
        described["score"] = [score for score, chosen in zip(rounded, predicted, strict=True) if chosen]
    if all_scores:
        described["scores"] = dict(zip(label_names, rounded, strict=True))
    return described


def name_of(value: Any, *, problem: str, label_names: Sequence[str]) -> Any:
    """A class name, a list of names, or a number."""
    if problem == "regression":
        return float(value)
    if problem == "single_label":
        return label_names[int(value)]
    return [name for name, chosen in zip(label_names, value, strict=True) if chosen]
