"""Every metric against scikit-learn or scipy: its value, and resamples against repeated examples."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from runwright.metric.classification import (
    accuracy,
    class_score,
    confusion_matrix,
    jaccard,
    label_accuracy,
    matthews,
    roc_auc,
)
from runwright.metric.means import mean_absolute_error, mean_squared_error, pearson, spearman
from runwright.types import Metric, Predictions

Make = Callable[..., Predictions]
QUOTIENTS = [("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)]
SEEDS = [0, 1, 2]


def resampled(metric: Metric, predictions: Predictions, *, num_samples: int = 5) -> tuple[Any, list[Any]]:
    """The metric of all examples and of some resamples, and the positions of the examples in each."""
    num_examples = len(predictions.example_ids)
    generator = np.random.default_rng(num_examples)
    positions = [np.arange(num_examples), *generator.integers(num_examples, size=(num_samples, num_examples))]
    weights = np.array([np.bincount(row, minlength=num_examples) for row in positions], dtype=np.float64)
    return metric(predictions, weights), positions


def assert_agrees(metric: Metric, theirs: Callable[[Any, Any], Any], predictions: Predictions) -> None:
    """The same as `theirs(expected, predicted)` on the examples of each resample, repeated."""
    expected, predicted = np.asarray(predictions.expected), predictions.predicted
    found, positions = resampled(metric, predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs: classes that a resample lacks, constant sides
        wanted = [theirs(expected[row], predicted[row]) for row in positions]
    assert found == pytest.approx(wanted, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize(("ours", "theirs"), QUOTIENTS)
def test_averaged_metrics_are_those_of_scikit_learn(
    single_label: Make, multi_label: Make, ours: Any, theirs: Any, average: str, seed: int
) -> None:
    for predictions in (single_label(seed=seed), multi_label(seed=seed)):
        reference = partial(theirs, average=average, zero_division=0)
        assert_agrees(partial(class_score, score=ours, average=average), reference, predictions)


@pytest.mark.parametrize("seed", SEEDS)
def test_jaccard_of_sets_is_scikit_learn_s_with_1_for_two_empty_sets(multi_label: Make, seed: int) -> None:
    theirs: Any = sk.jaccard_score
    assert_agrees(jaccard, partial(theirs, average="samples", zero_division=1), multi_label(seed=seed))


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize(("ours", "theirs"), QUOTIENTS)
def test_classes_that_never_occur_or_are_never_predicted_count_as_in_scikit_learn(
    as_predictions: Make, ours: Any, theirs: Any, average: str
) -> None:
    # Class 1 is never predicted, class 2 never expected, class 4 neither.
    predictions = as_predictions([0, 0, 2, 3, 3], [0, 1, 0, 3, 1], np.full((5, 5), 0.2))
    reference = partial(theirs, average=average, zero_division=0)
    assert_agrees(partial(class_score, score=ours, average=average), reference, predictions)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("ours", "theirs"), QUOTIENTS)
def test_binary_metrics_are_those_of_scikit_learn(
    single_label: Make, ours: Any, theirs: Any, seed: int
) -> None:
    assert_agrees(
        partial(class_score, score=ours, average="binary"), theirs, single_label(num_classes=2, seed=seed)
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_accuracy_matthews_and_confusion_are_those_of_scikit_learn(
    single_label: Make, num_classes: int, seed: int
) -> None:
    predictions = single_label(num_classes=num_classes, seed=seed)
    assert_agrees(accuracy, sk.accuracy_score, predictions)
    assert_agrees(matthews, sk.matthews_corrcoef, predictions)
    expected = sk.confusion_matrix(predictions.expected, predictions.predicted)
    assert np.array_equal(confusion_matrix(predictions), expected)


def test_multi_label_accuracies_are_subset_accuracy_and_one_minus_hamming_loss(multi_label: Make) -> None:
    assert_agrees(accuracy, sk.accuracy_score, multi_label())
    assert_agrees(label_accuracy, lambda *pair: 1 - sk.hamming_loss(*pair), multi_label())


@pytest.mark.parametrize("seed", SEEDS)
def test_roc_auc_is_that_of_scikit_learn(single_label: Make, multi_label: Make, seed: int) -> None:
    cases: list[tuple[Predictions, Literal["binary", "macro", "micro"], dict[str, Any]]] = [
        (single_label(num_classes=2, seed=seed), "binary", {}),
        (single_label(seed=seed), "macro", {"multi_class": "ovr", "average": "macro"}),
        (single_label(seed=seed), "micro", {"multi_class": "ovr", "average": "micro"}),
        (multi_label(seed=seed), "macro", {"average": "macro"}),
        (multi_label(seed=seed), "micro", {"average": "micro"}),
    ]
    for predictions, average, options in cases:
        found, positions = resampled(partial(roc_auc, average=average), predictions)  # scores with ties
        expected, scores = np.asarray(predictions.expected), np.asarray(predictions.scores)
        judged = scores[:, 1] if average == "binary" else scores
        wanted = [sk.roc_auc_score(expected[row], judged[row], **options) for row in positions]
        assert found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_correlations_and_errors_are_those_of_scipy_and_scikit_learn(regression: Make, seed: int) -> None:
    predictions = regression(seed=seed)  # numbers with ties
    assert_agrees(pearson, lambda *pair: stats.pearsonr(*pair)[0], predictions)
    assert_agrees(spearman, lambda *pair: stats.spearmanr(*pair)[0], predictions)
    assert_agrees(mean_absolute_error, sk.mean_absolute_error, predictions)
    assert_agrees(mean_squared_error, sk.mean_squared_error, predictions)


def test_a_perfect_fit_is_one_and_no_more(as_predictions: Make) -> None:
    numbers = np.random.default_rng(0).normal(size=300)
    for factor in (3.0, -0.1):
        predictions = as_predictions(factor * numbers + 1e3, numbers)
        for metric in (pearson, spearman):
            found, _ = resampled(metric, predictions, num_samples=50)
            assert found == pytest.approx(np.sign(factor), abs=1e-12)
            assert np.abs(found).max() <= 1.0


def test_an_outlier_leaves_the_digits_of_the_rest(as_predictions: Make) -> None:
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=300)
    for other in (0.5, 1e8, -1e8):
        predicted, expected = numbers + generator.normal(size=300), numbers.copy()
        predicted[7], expected[7] = 1e8, other
        predictions = as_predictions(predicted, expected)
        assert_agrees(spearman, lambda *pair: stats.spearmanr(*pair)[0], predictions)
        found, positions = resampled(pearson, predictions)
        for value, row in zip(found, positions, strict=True):
            if 7 in row:
                wanted = stats.pearsonr(expected[row], predicted[row])[0]
                assert value == pytest.approx(wanted, abs=1e-12)


def test_pearson_keeps_its_digits_far_from_zero(as_predictions: Make, regression: Make) -> None:
    near = regression()
    far = as_predictions(near.predicted + 1e8, np.asarray(near.expected) + 1e8)
    assert resampled(pearson, far)[0] == pytest.approx(resampled(pearson, near)[0], abs=1e-7)


def test_a_constant_side_has_no_correlation(as_predictions: Make) -> None:
    numbers = np.arange(6) / 7
    almost = np.array([0.1] * 5 + [0.3])  # constant in resamples without the last one
    for pair in ((almost, numbers), (numbers, almost)):
        predictions = as_predictions(*pair)
        assert_agrees(pearson, lambda *sides: stats.pearsonr(*sides)[0], predictions)
        assert_agrees(spearman, lambda *sides: stats.spearmanr(*sides)[0], predictions)
