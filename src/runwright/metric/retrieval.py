"""How far up the text that is looked for stands in a list of results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from runwright.metric.class_counts import ratio
from runwright.types import PositiveInt


class _RankFigure(ABC):
    """The mean over queries of a figure of the rank of the one right text; 0 beyond the first `k` results."""

    suits = ("retrieval",)

    def __init__(self, *, k: PositiveInt) -> None:
        self.k = k
        self._counts = np.zeros(k + 1, dtype=np.int64)  # queries by rank; the last: beyond k

    def update(self, predictions: Any) -> None:
        """Take in some queries: `ranks` [N] int64 from 1."""
        self._counts += np.bincount(np.minimum(predictions.ranks, self.k + 1) - 1, minlength=self.k + 1)

    def merge(self, other: _RankFigure) -> None:
        """Take in what another instance has seen."""
        self._counts += other._counts

    def compute(self) -> float:
        """From 0 to 1; NaN for no query."""
        num_queries = int(self._counts.sum())
        gains = self._gains(np.arange(1, self.k + 1))
        return float(self._counts[:-1] @ gains) / num_queries if num_queries else float("nan")

    def compute_resampled(self, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """The figure for each row of `counts` [S, N], [S]."""
        ranks = predictions.ranks
        gains = np.where(ranks <= self.k, self._gains(ranks), 0.0)
        return ratio(counts @ gains, counts.sum(axis=1), undefined=np.nan)

    @abstractmethod
    def _gains(self, ranks: np.ndarray) -> np.ndarray:
        """What a query with each of these ranks counts, [N] float64."""


class ReciprocalRank(_RankFigure):
    """Mean of 1 / rank (MRR@k)."""

    def _gains(self, ranks: np.ndarray) -> np.ndarray:
        return 1.0 / ranks


class DiscountedGain(_RankFigure):
    """Normalised discounted cumulative gain (nDCG@k; Järvelin and Kekäläinen 2002), one text being right."""

    def _gains(self, ranks: np.ndarray) -> np.ndarray:
        return 1.0 / np.log2(1.0 + ranks)


class RecallAt(_RankFigure):
    """Share of the queries whose text is among the first `k` results (recall@k)."""

    def _gains(self, ranks: np.ndarray) -> np.ndarray:
        return np.ones(len(ranks))
