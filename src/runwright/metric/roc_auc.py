"""Area under the receiver operating characteristic, exact, ties counting one half."""

from __future__ import annotations

from typing import Literal

import numpy as np

from runwright.errors import ConfigError, DataError
from runwright.metric.class_counts import expected_of, ratio
from runwright.types import Predictions

_CELLS = 4_000_000  # numbers held at once: 32 MB in float64


class _Scored:
    """Keeps the scores and labels of every example: the area needs them all at once."""

    def __init__(self) -> None:
        self._scores: list[np.ndarray] = []
        self._expected: list[np.ndarray] = []

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        scores, expected = self.judged(predictions)
        if len(scores):
            self._scores.append(scores.copy())
            self._expected.append(expected.copy())

    def merge(self, other: _Scored) -> None:
        """Take in what another instance has seen."""
        self._scores.extend(other._scores)
        self._expected.extend(other._expected)

    def compute(self) -> float:
        """The area so far; NaN where no class has both sides."""
        if not self._scores:
            return float("nan")
        scores, expected = np.concatenate(self._scores), np.concatenate(self._expected)
        return float(self.areas(scores, expected, np.ones((1, len(scores))))[0])

    def compute_resampled(self, predictions: Predictions, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        return self.areas(*self.judged(predictions), counts)

    def judged(self, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Scores [N, C] and whether each class is expected [N, C] bool."""
        if predictions.scores is None:
            raise DataError("ROC-AUC needs the score of each class, and these predictions have none")
        expected = expected_of(predictions)
        if expected.ndim == 1:
            expected = expected[:, None] == np.arange(predictions.scores.shape[1])
        return predictions.scores, expected

    def areas(self, scores: np.ndarray, expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The figure under each row of weights [S, N], [S]."""
        raise NotImplementedError


class BinaryRocAuc(_Scored):
    """Chance that an example of class 1 has a higher score of class 1 than one of class 0."""

    suits = ("single_label",)

    def areas(self, scores: np.ndarray, expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The area of class 1."""
        if scores.shape[1] != 2:
            raise ConfigError(
                f"metric 'roc_auc' judges two classes, and the data has {scores.shape[1]}; take roc_auc_macro"
            )
        return _area(scores[:, 1], expected[:, 1], counts)


class RocAuc(_Scored):
    """ROC-AUC of each class against the rest.

    `macro` is the mean over the classes that have both sides, `micro` pools all (example, class) pairs.
    """

    suits = ("single_label", "multi_label")

    def __init__(self, *, average: Literal["macro", "micro"]) -> None:
        super().__init__()
        self._average = average

    def areas(self, scores: np.ndarray, expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The averaged area."""
        num_classes = scores.shape[1]
        if self._average == "macro":
            by_class = np.stack([_area(scores[:, c], expected[:, c], counts) for c in range(num_classes)])
            defined = ~np.isnan(by_class)
            return ratio(np.where(defined, by_class, 0.0).sum(axis=0), defined.sum(axis=0), undefined=np.nan)
        rows = max(1, _CELLS // max(1, scores.size))
        pieces = [
            _area(
                scores.ravel(), expected.ravel(), np.repeat(counts[start : start + rows], num_classes, axis=1)
            )
            for start in range(0, len(counts), rows)
        ]
        return np.concatenate(pieces)


def _area(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area [S] where example i occurs counts[s, i] times; NaN without both sides or with a NaN score."""
    if np.isnan(scores).any() or not len(scores):
        return np.full(len(counts), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) != 0]))
    weights = counts[:, order].astype(np.float64)
    positives = np.add.reduceat(weights * positive[order], starts, axis=1)
    negatives = np.add.reduceat(weights, starts, axis=1) - positives
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)  # halves of whole numbers: exact below 2**52
    return ratio(wins, positives.sum(axis=1) * negatives.sum(axis=1), undefined=np.nan)
