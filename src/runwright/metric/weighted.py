"""Weighted means and quotients of counts over examples: what most metrics are made of."""

from __future__ import annotations

from typing import Literal

import numpy as np

from runwright.errors import DataError
from runwright.types import Predictions

Counts = tuple[np.ndarray, np.ndarray, np.ndarray]


def labels_of(predictions: Predictions) -> np.ndarray:
    """The labels of labelled predictions; DataError where there are none."""
    if predictions.expected is None:
        raise DataError("these rows have no labels, so no metric can be computed")
    return predictions.expected


def ratio(numerator: np.ndarray, denominator: np.ndarray, *, undefined: float) -> np.ndarray:
    """Element by element, `undefined` where the denominator is 0; never a warning."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.full(numerator.shape, undefined, dtype=np.float64)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def weighted_mean(values: np.ndarray, weights: np.ndarray, *, sizes: np.ndarray | None = None) -> np.ndarray:
    """Mean [S] of values [N] under each row of weights [S, N]; NaN where all weights are 0.

    sizes [N]: how many things each value is a sum over; None: one each.
    """
    with np.errstate(invalid="ignore"):  # 0 * inf is NaN, and that is the answer
        totals = weights.sum(axis=1) if sizes is None else weights @ sizes.astype(np.float64)
        return ratio(weights @ values.astype(np.float64), totals, undefined=np.nan)


def averaged(
    quotient: Literal["precision", "recall", "f1"], counts: Counts, *, average: str, undefined: float
) -> np.ndarray:
    """Precision, recall or F1 [S] from how often each class was right, predicted and expected, [S, C] each.

    micro: of all classes pooled; macro: mean over the classes that occur; weighted: that mean by how often
    they are expected. 0 for a class that occurs and is never right; `undefined` where no class occurs.
    """
    right, predicted, expected = counts
    if average == "micro":
        right, predicted, expected = (each.sum(axis=1, keepdims=True) for each in counts)
    parts = {
        "precision": (right, predicted),
        "recall": (right, expected),
        "f1": (2 * right, predicted + expected),
    }
    by_class = ratio(*parts[quotient], undefined=0.0)
    importance = expected if average == "weighted" else (predicted + expected > 0).astype(np.float64)
    return ratio((by_class * importance).sum(axis=1), importance.sum(axis=1), undefined=undefined)
