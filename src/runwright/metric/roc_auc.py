"""Area under the receiver operating characteristic, exact, ties counting one half."""

from __future__ import annotations

from typing import Literal

import numpy as np

from runwright.errors import ConfigError, DataError
from runwright.metric.weighted import labels_of, ratio
from runwright.types import Predictions

_CELLS = 4_000_000  # numbers held at once: 32 MB in float64


def roc_auc(
    predictions: Predictions, weights: np.ndarray, *, average: Literal["binary", "macro", "micro"]
) -> np.ndarray:
    """Chance that an example of a class has a higher score of it than one of another class.

    binary: of class 1 of two; macro: mean over the classes that have both sides; micro: all (example, class)
    pairs pooled.
    """
    scores, expected = predictions.scores, labels_of(predictions)
    if scores is None:
        raise DataError("ROC-AUC needs the score of each class, and these predictions have none")
    num_classes = scores.shape[1]
    if expected.ndim == 1:
        expected = expected[:, None] == np.arange(num_classes)
    if average == "binary":
        if num_classes != 2:
            raise ConfigError(
                f"metric 'roc_auc' judges two classes, and the data has {num_classes}; take roc_auc_macro"
            )
        return _area(scores[:, 1], expected[:, 1], weights)
    if average == "macro":
        by_class = np.stack([_area(scores[:, c], expected[:, c], weights) for c in range(num_classes)])
        defined = ~np.isnan(by_class)
        return ratio(np.where(defined, by_class, 0.0).sum(axis=0), defined.sum(axis=0), undefined=np.nan)
    rows = max(1, _CELLS // max(1, scores.size))  # pairs are C times as many as examples
    blocks = [weights[start : start + rows] for start in range(0, len(weights), rows)]
    pooled = (np.repeat(block, num_classes, axis=1) for block in blocks)
    return np.concatenate([_area(scores.ravel(), expected.ravel(), block) for block in pooled])


def _area(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area [S] under weights [S, N]; NaN without both sides or with a NaN score."""
    if np.isnan(scores).any() or not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) != 0]))
    weights = weights[:, order]
    positives = np.add.reduceat(weights * positive[order], starts, axis=1)
    negatives = np.add.reduceat(weights, starts, axis=1) - positives
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)  # halves of whole numbers: exact below 2**52
    return ratio(wins, positives.sum(axis=1) * negatives.sum(axis=1), undefined=np.nan)
