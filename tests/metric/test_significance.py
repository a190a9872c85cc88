"""Every test of a difference is held against scipy's, or a calculation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from runwright.metric.significance import (
    bootstrap_difference,
    mcnemar_p,
    paired_bootstrap,
    welch,
)

GENERATOR = np.random.default_rng(7)


def test_the_paired_bootstrap_gives_scipys_interval() -> None:
    differences = GENERATOR.gamma(2.0, size=400) - 1.9
    mine = paired_bootstrap(differences, confidence=0.95)
    scipys = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=0.95,
        method="percentile",
        n_resamples=10_000,
        batch=1000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = scipys.high - scipys.low
    assert mine.value == differences.mean()
    assert mine.low == pytest.approx(scipys.low, abs=0.03 * width)  # both are drawn by chance
    assert mine.high == pytest.approx(scipys.high, abs=0.03 * width)


def test_the_paired_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    samples = GENERATOR.normal(0.3, 1.0, size=(300, 60))
    intervals = [paired_bootstrap(sample, confidence=0.9) for sample in samples]
    covered = sum(each.low <= 0.3 <= each.high for each in intervals)
    # 300 tries of 0.9: 252 to 287 in 999 of 1000 cases; a percentile interval of 60 rows is a little short.
    assert 250 <= covered <= 288


def test_metrics_that_are_means_have_the_interval_of_the_mean() -> None:
    differences = GENERATOR.normal(0.1, 1.0, size=500)
    mean = paired_bootstrap(differences, confidence=0.95)
    figure = bootstrap_difference(
        lambda counts: counts @ differences / counts.sum(axis=1),
        float(differences.mean()),
        num_rows=500,
        confidence=0.95,
    )
    width = mean.high - mean.low
    assert (figure.low, figure.high) == pytest.approx((mean.low, mean.high), abs=0.06 * width)


def test_resamples_without_a_value_are_left_out() -> None:
    never = bootstrap_difference(lambda counts: np.full(len(counts), np.nan), 0.5, num_rows=9, confidence=0.9)
    assert (never.value, math.isnan(never.low), math.isnan(never.high)) == (0.5, True, True)


def test_without_a_difference_p_is_one() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert welch(np.ones(3), np.ones(4), confidence=0.95)[1] == 1.0


@pytest.mark.parametrize(("one", "other"), [(3, 12), (0, 6), (40, 40), (1, 0)])
def test_mcnemar_counts_coins(one: int, other: int) -> None:
    total, least = one + other, min(one, other)
    tail = sum(math.comb(total, heads) for heads in range(least + 1)) / 2**total
    assert mcnemar_p(one, other) == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize(("sizes", "shift"), [((3, 3), 0.02), ((5, 8), 0.0), ((2, 20), -0.1)])
def test_welch_gives_scipys_interval_and_p(sizes: tuple[int, int], shift: float) -> None:
    first = GENERATOR.normal(0.8, 0.02, size=sizes[0])
    second = GENERATOR.normal(0.8 + shift, 0.05, size=sizes[1])
    interval, p = welch(first, second, confidence=0.9)
    scipys = stats.ttest_ind(second, first, equal_var=False)
    expected = scipys.confidence_interval(0.9)
    assert p == pytest.approx(scipys.pvalue, rel=1e-9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert interval.value == pytest.approx(second.mean() - first.mean())
