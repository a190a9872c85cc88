"""Every test of a difference is held against scipy's, or a calculation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from runwright.metric.bootstrap import (
    bootstrap_difference,
    paired_bootstrap,
    paired_t,
    welch,
)

GENERATOR = np.random.default_rng(7)


def test_the_paired_bootstrap_gives_scipys_interval() -> None:
    differences = GENERATOR.gamma(2.0, size=400) - 1.9
    mine = paired_bootstrap(differences)
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
    intervals = [paired_bootstrap(sample) for sample in samples]
    covered = sum(each.low <= 0.3 <= each.high for each in intervals)
    # 300 tries of 0.95: 272 to 297 in 999 of 1000 cases; a percentile interval of 60 rows is a little short.
    assert 270 <= covered <= 297


def test_metrics_that_are_means_have_the_interval_of_the_mean() -> None:
    differences = GENERATOR.normal(0.1, 1.0, size=500)
    mean = paired_bootstrap(differences)
    figure = bootstrap_difference(
        lambda counts: counts @ differences / counts.sum(axis=1),
        float(differences.mean()),
        num_rows=500,
    )
    width = mean.high - mean.low
    assert (figure.low, figure.high) == pytest.approx((mean.low, mean.high), abs=0.06 * width)


def test_resamples_without_a_value_are_left_out() -> None:
    never = bootstrap_difference(lambda counts: np.full(len(counts), np.nan), 0.5, num_rows=9)
    assert (never.value, math.isnan(never.low), math.isnan(never.high)) == (0.5, True, True)


def test_the_paired_t_gives_scipys_interval_and_p() -> None:
    differences = GENERATOR.normal(0.1, 0.2, size=5)
    (interval, p), scipys = paired_t(differences), stats.ttest_1samp(differences, 0)
    expected = scipys.confidence_interval(0.95)
    assert (interval.low, interval.high, p) == pytest.approx((expected.low, expected.high, scipys.pvalue))
    assert paired_t(np.zeros(3))[1] == 1.0


@pytest.mark.parametrize(("sizes", "shift"), [((3, 3), 0.02), ((5, 8), 0.0), ((2, 20), -0.1)])
def test_welch_gives_scipys_interval(sizes: tuple[int, int], shift: float) -> None:
    first = GENERATOR.normal(0.8, 0.02, size=sizes[0])
    second = GENERATOR.normal(0.8 + shift, 0.05, size=sizes[1])
    interval = welch(first, second)
    expected = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert interval.value == pytest.approx(second.mean() - first.mean())
