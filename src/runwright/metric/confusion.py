"""Which class is taken for which."""

from __future__ import annotations

import numpy as np

from runwright.metric.class_counts import expected_of
from runwright.types import Predictions


class ConfusionMatrix:
    """How many examples of class i (row) were predicted as class j (column), [C, C] int64.

    C is the number of score columns; where there are no scores, the highest class met plus one.
    """

    suits = ("single_label",)

    def __init__(self) -> None:
        self._matrix = np.zeros((0, 0), dtype=np.int64)

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        expected, predicted = expected_of(predictions), predictions.predicted
        if predictions.scores is not None:
            num_classes = predictions.scores.shape[1]
        else:
            num_classes = int(max(expected.max(), predicted.max())) + 1 if len(expected) else 0
        pairs = np.bincount(expected * num_classes + predicted, minlength=num_classes**2)
        self._add(pairs.reshape(num_classes, num_classes).astype(np.int64))

    def merge(self, other: ConfusionMatrix) -> None:
        """Take in what another instance has seen."""
        self._add(other._matrix)

    def compute(self) -> np.ndarray:
        """A copy of the counts, [C, C] int64."""
        return self._matrix.copy()

    def _add(self, more: np.ndarray) -> None:
        size = max(len(self._matrix), len(more))
        grown = np.zeros((size, size), dtype=np.int64)
        for part in (self._matrix, more):
            grown[: len(part), : len(part)] += part
        self._matrix = grown
