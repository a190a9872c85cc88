"""Figures of ranks: by hand, against scikit-learn, merged and resampled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from runwright.metric.retrieval import DiscountedGain, RecallAt, ReciprocalRank

KINDS = [ReciprocalRank, DiscountedGain, RecallAt]


def of(ranks: Any) -> Any:
    return SimpleNamespace(ranks=np.asarray(ranks, dtype=np.int64))


def figure(metric: Any, ranks: Any) -> float:
    metric.update(of(ranks))
    return metric.compute()


def test_figures_by_hand() -> None:
    ranks = [1, 2, 4, 11, 500]
    assert figure(ReciprocalRank(k=10), ranks) == pytest.approx((1 + 1 / 2 + 1 / 4) / 5)
    assert figure(RecallAt(k=10), ranks) == pytest.approx(3 / 5)
    assert figure(RecallAt(k=1), ranks) == pytest.approx(1 / 5)
    assert np.isnan(RecallAt(k=1).compute())


def test_gain_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random((30, 40))
    right = generator.integers(40, size=30)
    own = scores[np.arange(30), right]
    ranks = 1 + (scores > own[:, None]).sum(axis=1)
    expected = ndcg_score(np.eye(40)[right], scores, k=10)
    assert figure(DiscountedGain(k=10), ranks) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_merge_and_resamples_count(kind: Any) -> None:
    ranks = np.random.default_rng(1).integers(1, 30, size=50)
    whole, left, right = kind(k=7), kind(k=7), kind(k=7)
    expected = figure(whole, ranks)
    left.update(of(ranks[:20]))
    right.update(of(ranks[20:]))
    left.merge(right)
    assert left.compute() == expected
    counts = np.random.default_rng(2).integers(0, 3, size=(4, 50)).astype(np.float64)
    found = whole.compute_resampled(of(ranks), counts)
    again = [figure(kind(k=7), np.repeat(ranks, row.astype(int))) for row in counts]
    assert found == pytest.approx(again)
