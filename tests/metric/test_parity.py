"""Every figure against scikit-learn or scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from runwright.metric.accuracy import Accuracy, LabelAccuracy
from runwright.metric.confusion import ConfusionMatrix
from runwright.metric.correlation import Pearson, Spearman
from runwright.metric.matthews import Matthews
from runwright.metric.precision_recall import F1, BinaryF1, BinaryPrecision, BinaryRecall, Precision, Recall
from runwright.metric.regression import MeanAbsoluteError, MeanSquaredError
from runwright.metric.roc_auc import BinaryRocAuc, RocAuc
from runwright.types import Metric, Predictions

Make = Callable[..., Predictions]
AVERAGED = [
    (Precision, sk.precision_score),
    (Recall, sk.recall_score),
    (F1, sk.f1_score),
]
BINARY = [
    (BinaryPrecision, sk.precision_score),
    (BinaryRecall, sk.recall_score),
    (BinaryF1, sk.f1_score),
]
SEEDS = [0, 1, 2]


def figure(metric: Metric, predictions: Predictions) -> Any:
    metric.update(predictions)
    return metric.compute()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize(("ours", "theirs"), AVERAGED)
def test_averaged_figures_are_those_of_scikit_learn(
    single_label: Make, multi_label: Make, ours: Any, theirs: Any, average: str, seed: int
) -> None:
    for predictions in (single_label(seed=seed), multi_label(seed=seed)):
        expected = theirs(predictions.expected, predictions.predicted, average=average, zero_division=0)
        assert figure(ours(average=average), predictions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize(("ours", "theirs"), AVERAGED)
def test_classes_that_never_occur_or_are_never_predicted_count_as_in_scikit_learn(
    as_predictions: Make, ours: Any, theirs: Any, average: str
) -> None:
    # Class 1 is never predicted, class 2 never expected, class 4 neither.
    predictions = as_predictions([0, 0, 2, 3, 3], [0, 1, 0, 3, 1], np.full((5, 5), 0.2))
    expected = theirs(predictions.expected, predictions.predicted, average=average, zero_division=0)
    assert figure(ours(average=average), predictions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("ours", "theirs"), BINARY)
def test_binary_figures_are_those_of_scikit_learn(
    single_label: Make, ours: Any, theirs: Any, seed: int
) -> None:
    predictions = single_label(num_classes=2, seed=seed)
    expected = theirs(predictions.expected, predictions.predicted)
    assert figure(ours(), predictions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_accuracy_matthews_and_confusion_are_those_of_scikit_learn(
    single_label: Make, num_classes: int, seed: int
) -> None:
    predictions = single_label(num_classes=num_classes, seed=seed)
    pair = (predictions.expected, predictions.predicted)
    assert figure(Accuracy(), predictions) == pytest.approx(sk.accuracy_score(*pair), abs=1e-12)
    assert figure(Matthews(), predictions) == pytest.approx(sk.matthews_corrcoef(*pair), abs=1e-12)
    assert np.array_equal(figure(ConfusionMatrix(), predictions), sk.confusion_matrix(*pair))


def test_multi_label_accuracies_are_subset_accuracy_and_one_minus_hamming_loss(multi_label: Make) -> None:
    predictions = multi_label()
    pair = (predictions.expected, predictions.predicted)
    assert figure(Accuracy(), predictions) == pytest.approx(sk.accuracy_score(*pair), abs=1e-12)
    assert figure(LabelAccuracy(), predictions) == pytest.approx(1 - sk.hamming_loss(*pair), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_roc_auc_is_that_of_scikit_learn(single_label: Make, multi_label: Make, seed: int) -> None:
    two, many, several = (
        single_label(num_classes=2, seed=seed),
        single_label(seed=seed),
        multi_label(seed=seed),
    )
    assert two.scores is not None
    expected = sk.roc_auc_score(two.expected, two.scores[:, 1])
    assert figure(BinaryRocAuc(), two) == pytest.approx(expected, abs=1e-12)
    for average in ("macro", "micro"):
        expected = sk.roc_auc_score(many.expected, many.scores, multi_class="ovr", average=average)
        assert figure(RocAuc(average=average), many) == pytest.approx(expected, abs=1e-12)
        expected = sk.roc_auc_score(several.expected, several.scores, average=average)
        assert figure(RocAuc(average=average), several) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_correlations_and_errors_are_those_of_scipy_and_scikit_learn(regression: Make, seed: int) -> None:
    predictions = regression(seed=seed)
    pair = (predictions.expected, predictions.predicted)
    assert figure(Pearson(), predictions) == pytest.approx(stats.pearsonr(*pair)[0], abs=1e-12)
    assert figure(Spearman(), predictions) == pytest.approx(stats.spearmanr(*pair)[0], abs=1e-12)
    assert figure(MeanAbsoluteError(), predictions) == pytest.approx(sk.mean_absolute_error(*pair), abs=1e-12)
    assert figure(MeanSquaredError(), predictions) == pytest.approx(sk.mean_squared_error(*pair), abs=1e-12)


def test_pearson_keeps_its_digits_far_from_zero(as_predictions: Make, regression: Make) -> None:
    near = regression()
    far = as_predictions(near.predicted + 1e8, np.asarray(near.expected) + 1e8)
    assert figure(Pearson(), far) == pytest.approx(figure(Pearson(), near), abs=1e-7)
