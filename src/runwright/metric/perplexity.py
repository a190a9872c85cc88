"""Perplexity and accuracy of language models, over tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from runwright.metric.weighted import weighted_mean

LARGEST = 700.0  # exp of more is no float64


def perplexity(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """The exponential of the mean loss of a token in nats: over all tokens, never a mean of means.

    At most exp(700), about 1e304.
    """
    means = weighted_mean(predictions.losses, weights, sizes=predictions.loss_counts)
    return np.exp(np.minimum(means, LARGEST))


def token_accuracy(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """Share of the tokens that the model puts first."""
    return weighted_mean(predictions.num_right, weights, sizes=predictions.loss_counts)
