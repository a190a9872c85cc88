"""Metrics of ranks: by hand, against scikit-learn, and resampled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from runwright.metric.means import discounted_gain, recall_at, reciprocal_rank


def of(ranks: Any) -> Any:
    return SimpleNamespace(ranks=np.asarray(ranks, dtype=np.int64))


def value(metric: Any, ranks: Any, *, k: int) -> float:
    return metric(of(ranks), np.ones((1, len(ranks))), k=k)[0]


def test_metrics_by_hand() -> None:
    ranks = [1, 2, 10, 11, 500]
    assert value(reciprocal_rank, ranks, k=10) == pytest.approx((1 + 1 / 2 + 1 / 10) / 5)
    assert value(recall_at, ranks, k=10) == pytest.approx(3 / 5)
    assert value(recall_at, ranks, k=1) == pytest.approx(1 / 5)
    assert np.isnan(value(recall_at, [], k=1))


def test_gain_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random((30, 40))
    right = generator.integers(40, size=30)
    own = scores[np.arange(30), right]
    ranks = 1 + (scores > own[:, None]).sum(axis=1)
    expected = ndcg_score(np.eye(40)[right], scores, k=10)
    assert value(discounted_gain, ranks, k=10) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [reciprocal_rank, discounted_gain, recall_at])
def test_resamples_are_repeated_queries(metric: Any) -> None:
    ranks = np.random.default_rng(1).integers(1, 30, size=50)
    weights = np.random.default_rng(2).integers(0, 3, size=(4, 50)).astype(np.float64)
    again = [value(metric, np.repeat(ranks, row.astype(int)), k=7) for row in weights]
    assert metric(of(ranks), weights, k=7) == pytest.approx(again)
