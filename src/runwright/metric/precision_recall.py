"""Precision, recall and F1, of the positive class or averaged over classes.

One rule for what 0/0 means: a class that is neither expected nor predicted is left out of averages (and
alone gives NaN); any other 0/0 counts 0. That agrees with scikit-learn's defaults, except that
scikit-learn keeps absent columns of multi-label data as 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from runwright.errors import ConfigError
from runwright.metric.class_counts import ClassCountMetric, ClassCounts, ratio
from runwright.types import Predictions


def _precision(counts: ClassCounts) -> np.ndarray:
    return ratio(counts.matched, counts.predicted, undefined=0.0)


def _recall(counts: ClassCounts) -> np.ndarray:
    return ratio(counts.matched, counts.expected, undefined=0.0)


def _f1(counts: ClassCounts) -> np.ndarray:
    return ratio(2 * counts.matched, counts.predicted + counts.expected, undefined=0.0)


_BY_CLASS = {"precision": _precision, "recall": _recall, "f1": _f1}


def _average(counts: ClassCounts, *, of: str, average: str) -> np.ndarray:
    if average == "micro":
        pooled = ClassCounts(
            matched=counts.matched.sum(axis=-1),
            predicted=counts.predicted.sum(axis=-1),
            expected=counts.expected.sum(axis=-1),
            num_examples=counts.num_examples,
        )
        occurs = pooled.predicted + pooled.expected > 0
        return np.where(occurs, _BY_CLASS[of](pooled), np.nan)
    by_class = _BY_CLASS[of](counts)
    occurs = counts.predicted + counts.expected > 0
    weights = occurs.astype(np.float64) if average == "macro" else counts.expected
    return ratio((by_class * weights).sum(axis=-1), weights.sum(axis=-1), undefined=np.nan)


def _positive_only(counts: ClassCounts, *, of: str) -> np.ndarray:
    if counts.expected.shape[-1] < 2:  # class 1 never met
        return np.full(counts.expected.shape[:-1], np.nan)
    occurs = counts.predicted[..., 1] + counts.expected[..., 1] > 0
    return np.where(occurs, _BY_CLASS[of](counts)[..., 1], np.nan)


def _check_binary(predictions: Predictions, *, figure: str) -> None:
    num_classes = None if predictions.scores is None else predictions.scores.shape[1]
    if predictions.predicted.ndim == 2 or (num_classes is not None and num_classes != 2):
        raise ConfigError(
            f"metric {figure!r} judges two classes, and the data has {num_classes}; "
            f"take {figure}_macro, {figure}_micro or {figure}_weighted"
        )


class BinaryPrecision(ClassCountMetric):
    """Share of the examples predicted as class 1 that are class 1; two classes only."""

    suits = ("single_label",)

    def check(self, predictions: Predictions) -> None:
        """ConfigError where there are not two classes."""
        _check_binary(predictions, figure="precision")

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """NaN where class 1 is neither expected nor predicted."""
        return _positive_only(counts, of="precision")


class BinaryRecall(ClassCountMetric):
    """Share of the examples of class 1 that are found; two classes only."""

    suits = ("single_label",)

    def check(self, predictions: Predictions) -> None:
        """ConfigError where there are not two classes."""
        _check_binary(predictions, figure="recall")

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """NaN where class 1 is neither expected nor predicted."""
        return _positive_only(counts, of="recall")


class BinaryF1(ClassCountMetric):
    """Harmonic mean of precision and recall of class 1; two classes only."""

    suits = ("single_label",)

    def check(self, predictions: Predictions) -> None:
        """ConfigError where there are not two classes."""
        _check_binary(predictions, figure="f1")

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """NaN where class 1 is neither expected nor predicted."""
        return _positive_only(counts, of="f1")


class Precision(ClassCountMetric):
    """Precision over all classes; `weighted` weighs a class by how often it is expected."""

    suits = ("single_label", "multi_label")

    def __init__(self, *, average: Literal["micro", "macro", "weighted"]) -> None:
        super().__init__()
        self._average = average

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """NaN where there is no example."""
        return _average(counts, of="precision", average=self._average)


class Recall(ClassCountMetric):
    """Recall over all classes; `weighted` weighs a class by how often it is expected."""

    suits = ("single_label", "multi_label")

    def __init__(self, *, average: Literal["micro", "macro", "weighted"]) -> None:
        super().__init__()
        self._average = average

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """NaN where there is no example."""
        return _average(counts, of="recall", average=self._average)


class F1(ClassCountMetric):
    """F1 over all classes: `macro` averages the F1 of each class, `weighted` weighs it by expectation."""

    suits = ("single_label", "multi_label")

    def __init__(self, *, average: Literal["micro", "macro", "weighted"]) -> None:
        super().__init__()
        self._average = average

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """NaN where there is no example."""
        return _average(counts, of="f1", average=self._average)
