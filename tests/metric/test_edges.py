"""Metrics where there is little or nothing to judge: undefined values are NaN, and nothing ever warns."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from runwright.errors import ConfigError, DataError
from runwright.metric.bootstrap import make_metric
from runwright.metric.classification import (
    accuracy,
    class_score,
    confusion_matrix,
    label_accuracy,
    matthews,
    roc_auc,
)
from runwright.metric.means import mean_absolute_error, mean_squared_error, pearson, spearman
from runwright.types import Metric, Predictions

Make = Callable[..., Predictions]
QUOTIENTS = ("precision", "recall", "f1")
BINARY: list[Metric] = [
    *(partial(class_score, score=score, average="binary") for score in QUOTIENTS),
    partial(roc_auc, average="binary"),
]
OF_CLASSES: list[Metric] = [
    accuracy,
    matthews,
    *(
        partial(class_score, score=score, average=average)
        for score in QUOTIENTS
        for average in ("micro", "macro", "weighted")
    ),
    *(partial(roc_auc, average=average) for average in ("macro", "micro")),
]
OF_NUMBERS: list[Metric] = [pearson, spearman, mean_absolute_error, mean_squared_error]


def value(metric: Metric, predictions: Any) -> float:
    return float(metric(predictions, np.ones((1, len(predictions.example_ids))))[0])


def test_no_example_gives_nan(as_predictions: Make) -> None:
    none = np.zeros(0, dtype=np.int64)
    for metric in (*OF_CLASSES, *BINARY):
        assert math.isnan(value(metric, as_predictions(none, none, np.zeros((0, 2)))))
    for metric in OF_NUMBERS:
        assert math.isnan(value(metric, as_predictions(np.zeros(0), np.zeros(0))))
    labels = np.zeros((0, 3), dtype=bool)
    assert math.isnan(value(label_accuracy, as_predictions(labels, labels)))
    assert confusion_matrix(as_predictions(none, none)).shape == (0, 0)


def test_a_resample_that_leaves_all_examples_of_a_kind_out_is_undefined(as_predictions: Make) -> None:
    both = as_predictions([1, 0, 0], [1, 0, 0], [[0.1, 0.9], [0.6, 0.4], [0.7, 0.3]])
    weights = np.array([[1.0, 1, 1], [0, 2, 1]])
    for metric in BINARY:
        assert np.array_equal(metric(both, weights), [1.0, math.nan], equal_nan=True)
    numbers = as_predictions(np.array([0.1, 0.7, 0.7]), np.array([0.3, 0.9, 0.8]))
    assert np.isnan(pearson(numbers, weights)).tolist() == [False, True]  # one side is constant
    assert np.isnan(spearman(numbers, weights)).tolist() == [False, True]


@pytest.mark.parametrize("metric", [pearson, spearman])
@pytest.mark.parametrize(
    ("predicted", "expected"),
    [([0.1] * 7, range(7)), (range(7), [0.1] * 7), ([1.0], [2.0]), ([1.0, math.nan], [1.0, 2.0])],
)
def test_correlation_with_a_constant_or_nan_is_nan(
    as_predictions: Make, metric: Metric, predicted: Any, expected: Any
) -> None:
    assert math.isnan(value(metric, as_predictions(np.array(predicted, float), np.array(expected, float))))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_do_not_raise(as_predictions: Make, number: float) -> None:
    predictions = as_predictions(np.array([1.0, number, 3.0]), np.array([1.0, 2.0, number]))
    assert math.isnan(value(pearson, predictions))
    for metric in (mean_absolute_error, mean_squared_error):
        assert not np.isfinite(metric(predictions, np.array([[1.0, 1, 1], [3, 0, 0]]))).any()


def test_an_area_under_scores_that_are_no_numbers_is_undefined(as_predictions: Make) -> None:
    predictions = as_predictions([1, 0, 0], [1, 0, 0], [[0.1, math.nan], [0.6, 0.4], [0.7, 0.3]])
    for average in ("binary", "micro"):
        assert math.isnan(value(partial(roc_auc, average=average), predictions))


def test_matthews_is_zero_where_one_side_is_constant(as_predictions: Make) -> None:
    assert value(matthews, as_predictions([1, 1, 1], [0, 1, 0])) == 0.0


def test_binary_metrics_without_the_positive_class_are_nan(as_predictions: Make) -> None:
    for metric in BINARY[:3]:
        assert math.isnan(value(metric, as_predictions([0, 0], [0, 0])))
        assert value(metric, as_predictions([0, 0], [0, 1])) == 0.0
    assert math.isnan(value(BINARY[3], as_predictions([1, 1], [1, 1], [[0.2, 0.8], [0.3, 0.7]])))


def test_classes_that_are_only_expected_count_without_scores(as_predictions: Make) -> None:
    predictions = as_predictions([0, 1, 2], [0, 0, 1])
    assert confusion_matrix(predictions).tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert value(partial(class_score, score="f1", average="macro"), predictions) == pytest.approx(
        (2 / 3 + 0 + 0) / 3
    )


def test_binary_metrics_refuse_other_numbers_of_classes(single_label: Make, multi_label: Make) -> None:
    for metric in BINARY:
        with pytest.raises(ConfigError, match="two classes, not 4"):
            value(metric, single_label())
    with pytest.raises(ConfigError, match="f1_macro"):
        value(partial(class_score, score="f1", average="binary"), multi_label(num_classes=2))


def test_rows_without_labels_are_refused(as_predictions: Make) -> None:
    for metric, predicted in ((accuracy, [1, 0]), (OF_CLASSES[-3], [1, 0]), (pearson, [1.0, 0.0])):
        with pytest.raises(DataError, match="no labels"):
            value(metric, as_predictions(predicted, None))


def test_every_shipped_metric_is_made_from_its_yaml() -> None:
    folder = Path(__file__).resolve().parents[2] / "conf" / "metric"
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# @package metric.{path.stem}\n")
        node = yaml.safe_load(text)
        assert node["suits"]
        assert callable(make_metric(node, key=f"metric.{path.stem}"))
