"""Intervals: the fast way equals feeding each resample, the seed decides, and the coverage is right."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runwright.errors import ConfigError
from runwright.metric import bootstrap
from runwright.metric.accuracy import Accuracy, LabelAccuracy
from runwright.metric.bootstrap import bootstrap_interval
from runwright.metric.confusion import ConfusionMatrix
from runwright.metric.correlation import Pearson, Spearman
from runwright.metric.matthews import Matthews
from runwright.metric.precision_recall import F1, BinaryF1, Precision, Recall
from runwright.metric.regression import MeanAbsoluteError, MeanSquaredError
from runwright.metric.roc_auc import BinaryRocAuc, RocAuc
from runwright.predictions import select
from runwright.types import Metric, Predictions

Make = Callable[..., Predictions]


class Slow:
    """Hides the fast way of a metric."""

    def __init__(self, metric: Any) -> None:
        self.update, self.merge, self.compute = metric.update, metric.merge, metric.compute


ANY = {
    "accuracy": Accuracy,
    "f1_macro": lambda: F1(average="macro"),
    "precision_weighted": lambda: Precision(average="weighted"),
    "recall_micro": lambda: Recall(average="micro"),
    "roc_auc_macro": lambda: RocAuc(average="macro"),
    "roc_auc_micro": lambda: RocAuc(average="micro"),
}
CASES: list[tuple[str, dict[str, Any], Callable[[], Metric]]] = [
    *(("single_label", {}, make) for make in ANY.values()),
    *(("multi_label", {}, make) for make in ANY.values()),
    ("single_label", {}, Matthews),
    ("single_label", {"num_classes": 2}, BinaryF1),
    ("single_label", {"num_classes": 2}, BinaryRocAuc),
    ("multi_label", {}, LabelAccuracy),
    *(("regression", {}, make) for make in (Pearson, Spearman, MeanAbsoluteError, MeanSquaredError)),
]


def test_every_column_is_resampled_alike(single_label: Make) -> None:
    data = dataclasses.replace(single_label(), losses=np.arange(200.0), groups=np.arange(200))
    chosen = select(data, np.array([5, 5, 2]))
    assert chosen.losses is not None
    assert chosen.groups is not None
    assert chosen.example_ids.tolist() == chosen.losses.tolist() == chosen.groups.tolist() == [5, 5, 2]
    assert chosen.scores is not None
    assert data.scores is not None
    assert np.array_equal(chosen.scores, data.scores[[5, 5, 2]])


@pytest.mark.parametrize(("kind", "options", "make"), CASES)
def test_the_fast_way_equals_feeding_each_resample(
    request: pytest.FixtureRequest, kind: str, options: dict[str, Any], make: Callable[[], Metric]
) -> None:
    predictions = request.getfixturevalue(kind)(num_examples=30, **options)
    fast = bootstrap_interval(make, predictions, num_samples=50, seed=3)
    slow = bootstrap_interval(lambda: Slow(make()), predictions, num_samples=50, seed=3)
    assert isinstance(make(), bootstrap.Resampled)
    assert not isinstance(Slow(make()), bootstrap.Resampled)
    for name in ("value", "low", "high"):
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), abs=1e-10)


def test_the_seed_decides_and_blocks_do_not(regression: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = regression()
    first = bootstrap_interval(Pearson, data, num_samples=100, seed=1)
    assert bootstrap_interval(Pearson, data, num_samples=100, seed=1) == first
    assert bootstrap_interval(Pearson, data, num_samples=100, seed=2) != first
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    assert bootstrap_interval(Pearson, data, num_samples=100, seed=1) == first


def test_the_interval_of_a_share_is_near_the_normal_one(as_predictions: Make) -> None:
    right = np.arange(400) < 300
    interval = bootstrap_interval(Accuracy, as_predictions(right.astype(int), np.ones(400, int)), seed=0)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - half, abs=0.006)
    assert interval.high == pytest.approx(0.75 + half, abs=0.006)


def test_more_confidence_is_wider(regression: Make) -> None:
    narrow, wide = (bootstrap_interval(Pearson, regression(), confidence=c, seed=0) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_undefined_resamples_are_left_out(as_predictions: Make) -> None:
    # A resample without the one positive example has no area.
    data = as_predictions([1, 0, 0], [1, 0, 0], [[0.1, 0.9], [0.6, 0.4], [0.7, 0.3]])
    interval = bootstrap_interval(BinaryRocAuc, data, seed=0)
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_a_resample_of_one_repeated_value_has_no_correlation(as_predictions: Make) -> None:
    data = as_predictions(np.array([0.1, 0.7]), np.array([0.3, 0.9]))
    interval = bootstrap_interval(Pearson, data, seed=0)
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_no_examples_or_no_figure_give_nan(as_predictions: Make) -> None:
    for values in ([], [1.0, 1.0]):
        interval = bootstrap_interval(Pearson, as_predictions(np.array(values), np.array(values)), seed=0)
        assert all(math.isnan(x) for x in (interval.value, interval.low, interval.high))


@pytest.mark.parametrize("options", [{"num_samples": 0}, {"confidence": 1.0}, {"confidence": 95.0}])
def test_impossible_requests_are_refused(regression: Make, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bootstrap needs"):
        bootstrap_interval(Pearson, regression(), seed=0, **options)


def test_a_table_has_no_interval(single_label: Make) -> None:
    with pytest.raises(ConfigError, match="table"):
        bootstrap_interval(ConfusionMatrix, single_label(), seed=0)


def test_3000_rows_take_less_than_a_second(regression: Make) -> None:
    data = regression(num_examples=3000)
    started = time.process_time()
    bootstrap_interval(Pearson, data, seed=0)
    assert time.process_time() - started < 1.0
