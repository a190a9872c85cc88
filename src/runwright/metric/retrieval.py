"""Means over queries of how far up the one right text stands in a list of results; 0 beyond the first `k`."""

from __future__ import annotations

from typing import Any

import numpy as np

from runwright.metric.weighted import weighted_mean
from runwright.types import PositiveInt


def reciprocal_rank(predictions: Any, weights: np.ndarray, *, k: PositiveInt) -> np.ndarray:
    """Mean of 1 / rank (MRR@k); `ranks` [N] int64 count from 1."""
    return weighted_mean(np.where(predictions.ranks <= k, 1.0 / predictions.ranks, 0.0), weights)


def discounted_gain(predictions: Any, weights: np.ndarray, *, k: PositiveInt) -> np.ndarray:
    """Normalised discounted cumulative gain (nDCG@k; Järvelin and Kekäläinen 2002), one text being right."""
    gains = 1.0 / np.log2(1.0 + predictions.ranks)
    return weighted_mean(np.where(predictions.ranks <= k, gains, 0.0), weights)


def recall_at(predictions: Any, weights: np.ndarray, *, k: PositiveInt) -> np.ndarray:
    """Share of the queries whose text is among the first `k` results (recall@k)."""
    return weighted_mean(predictions.ranks <= k, weights)
