"""How surprised a language model is, and how often it is right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from runwright.metric.class_counts import ratio

LARGEST = 700.0  # exp of more is no float64


class Perplexity:
    """exp of the mean loss of a token: the total over all tokens, never a mean of means."""

    suits = ("hidden_tokens", "next_tokens")

    def __init__(self) -> None:
        self._totals: list[float] = []
        self._num_tokens = 0.0

    def update(self, predictions: Any) -> None:
        """Take in some examples: `losses` in nats and `loss_counts`."""
        self._totals.append(math.fsum(predictions.losses.tolist()))
        self._num_tokens += float(predictions.loss_counts.sum())

    def merge(self, other: Perplexity) -> None:
        """Take in what another instance has seen."""
        self._totals += other._totals
        self._num_tokens += other._num_tokens

    def compute(self) -> float:
        """From 1; NaN for no token, infinite beyond what a float can hold."""
        if not self._num_tokens:
            return float("nan")
        mean = math.fsum(self._totals) / self._num_tokens
        return math.exp(mean) if mean < LARGEST else math.inf

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        means = ratio(counts @ predictions.losses, counts @ predictions.loss_counts, undefined=np.nan)
        return np.exp(np.minimum(means, LARGEST))


class TokenAccuracy:
    """Share of the tokens that the model puts first."""

    suits = ("hidden_tokens", "next_tokens")

    def __init__(self) -> None:
        self._num_right = 0
        self._num_tokens = 0.0

    def update(self, predictions: Any) -> None:
        """Take in some examples: `num_right` and `loss_counts`."""
        self._num_right += int(predictions.num_right.sum())
        self._num_tokens += float(predictions.loss_counts.sum())

    def merge(self, other: TokenAccuracy) -> None:
        """Take in what another instance has seen."""
        self._num_right += other._num_right
        self._num_tokens += other._num_tokens

    def compute(self) -> float:
        """From 0 to 1; NaN for no token."""
        return self._num_right / self._num_tokens if self._num_tokens else float("nan")

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        right = predictions.num_right.astype(np.float64)
        return ratio(counts @ right, counts @ predictions.loss_counts, undefined=np.nan)
