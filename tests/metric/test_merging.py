"""Any way of cutting and merging the examples gives the same figure; nothing ever warns."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.errors import ConfigError, DataError
from runwright.metric.accuracy import Accuracy, LabelAccuracy
from runwright.metric.confusion import ConfusionMatrix
from runwright.metric.correlation import Pearson, Spearman
from runwright.metric.matthews import Matthews
from runwright.metric.precision_recall import F1, BinaryF1, BinaryPrecision, BinaryRecall, Precision, Recall
from runwright.metric.regression import MeanAbsoluteError, MeanSquaredError
from runwright.metric.roc_auc import BinaryRocAuc, RocAuc
from runwright.predictions import select
from runwright.types import Metric, Predictions

Pairs = list[tuple[int, int]]
Make = Callable[..., Predictions]
AVERAGES = ("micro", "macro", "weighted")
BINARY = [BinaryPrecision, BinaryRecall, BinaryF1, BinaryRocAuc]
ANY_CLASSES = [
    Accuracy,
    *(lambda kind=kind, a=a: kind(average=a) for kind in (Precision, Recall, F1) for a in AVERAGES),
    *(lambda a=a: RocAuc(average=a) for a in ("macro", "micro")),
]
OF_CLASSES = [*ANY_CLASSES, Matthews, ConfusionMatrix]
OF_LABELS = [*ANY_CLASSES, LabelAccuracy]
OF_NUMBERS = [Pearson, Spearman, MeanAbsoluteError, MeanSquaredError]


def predictions_of(
    predicted: Any, expected: Any, scores: Any = None, *, num_classes: int | None = None
) -> Predictions:
    predicted, expected = np.asarray(predicted), np.asarray(expected)
    if num_classes is not None:
        scores = np.random.default_rng(len(predicted)).integers(3, size=(len(predicted), num_classes)) / 4
    return Predictions(
        example_ids=np.arange(len(predicted)),
        predicted=predicted,
        expected=expected,
        scores=scores,
        losses=None,
    )


def cut_and_merge(make: Callable[[], Metric], predictions: Predictions, places: list[int]) -> Any:
    """Fed in pieces to separate metrics, which are merged as a tree; every second piece in two updates."""
    bounds = sorted({0, len(predictions.predicted), *(p % (len(predictions.predicted) + 1) for p in places)})
    parts: list[Any] = []
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        metric = make()
        middle = (start + end) // 2 if number % 2 else end
        metric.update(select(predictions, np.arange(start, middle)))
        metric.update(select(predictions, np.arange(middle, end)))
        parts.append(metric)
    if not parts:
        parts = [make()]
        parts[0].update(predictions)
    while len(parts) > 1:
        for left, right in zip(parts[::2], parts[1::2], strict=False):
            left.merge(right)
        parts = parts[::2]
    return parts[0].compute()


def whole(make: Callable[[], Metric], predictions: Predictions) -> Any:
    metric = make()
    metric.update(predictions)
    return metric.compute()


pairs_of_classes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30)
cuts = st.lists(st.integers(0, 1000), max_size=6)


@settings(max_examples=60, deadline=None)
@given(pairs=pairs_of_classes, places=cuts)
def test_figures_of_classes_are_the_same_to_the_last_bit(
    pairs: list[tuple[int, int]], places: list[int]
) -> None:
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    predictions = predictions_of(*columns, num_classes=4)
    two = predictions_of(*(columns % 2), num_classes=2)
    for make in OF_CLASSES:
        assert np.array_equal(
            cut_and_merge(make, predictions, places), whole(make, predictions), equal_nan=True
        )
    for make in BINARY:
        assert np.array_equal(cut_and_merge(make, two, places), whole(make, two), equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=30), places=cuts)
def test_figures_of_labels_are_the_same_to_the_last_bit(
    pairs: list[tuple[int, int]], places: list[int]
) -> None:
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    predicted, expected = ((column[:, None] >> np.arange(4)) & 1 == 1 for column in columns)
    predictions = predictions_of(predicted, expected, num_classes=4)
    for make in OF_LABELS:
        assert np.array_equal(
            cut_and_merge(make, predictions, places), whole(make, predictions), equal_nan=True
        )


numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(numbers, numbers), max_size=30), places=cuts)
def test_figures_of_numbers_are_the_same_up_to_rounding(
    pairs: list[tuple[float, float]], places: list[int]
) -> None:
    predictions = predictions_of(*np.array(pairs, dtype=np.float64).reshape(-1, 2).T)
    for make in OF_NUMBERS:
        expected = whole(make, predictions)
        found = cut_and_merge(make, predictions, places)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
    assert np.array_equal(
        cut_and_merge(Spearman, predictions, places), whole(Spearman, predictions), equal_nan=True
    )


def test_merging_leaves_the_other_as_it_was(single_label: Make, regression: Make) -> None:
    for makes, data in ((OF_CLASSES, single_label()), (OF_NUMBERS, regression())):
        for make in makes:
            one, other = make(), make()
            other.update(data)
            before = copy.deepcopy(other.compute())
            one.merge(other)
            one.update(data)
            assert np.array_equal(other.compute(), before)


def test_classes_may_be_met_one_after_the_other() -> None:
    one, other = ConfusionMatrix(), ConfusionMatrix()
    one.update(predictions_of([0, 1], [0, 0]))
    other.update(predictions_of([2], [1]))
    one.merge(other)
    assert one.compute().tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    f1, more = F1(average="macro"), F1(average="macro")
    f1.update(predictions_of([0, 1], [0, 0]))
    more.update(predictions_of([2], [1]))
    more.merge(f1)
    assert more.compute() == pytest.approx((2 / 3 + 0 + 0) / 3)


@pytest.mark.parametrize("make", [*OF_CLASSES[:-1], *BINARY, *OF_NUMBERS, LabelAccuracy])
def test_no_example_gives_nan(make: Callable[[], Metric]) -> None:
    assert math.isnan(make().compute())


@pytest.mark.parametrize("make", [Pearson, Spearman])
@pytest.mark.parametrize(
    ("predicted", "expected"),
    [([0.1] * 7, range(7)), (range(7), [0.1] * 7), ([1.0], [2.0]), ([1.0, math.nan], [1.0, 2.0])],
)
def test_correlation_with_a_constant_or_nan_is_nan(
    make: Callable[[], Metric], predicted: Any, expected: Any
) -> None:
    predictions = predictions_of(np.array(predicted, float), np.array(expected, float))
    assert math.isnan(whole(make, predictions))
    assert math.isnan(cut_and_merge(make, predictions, [2, 5]))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_do_not_raise(value: float) -> None:
    predictions = predictions_of(np.array([1.0, value, 3.0]), np.array([1.0, 2.0, value]))
    assert math.isnan(whole(Pearson, predictions))
    for make in (MeanAbsoluteError, MeanSquaredError):
        assert not math.isfinite(whole(make, predictions))


def test_matthews_is_zero_where_one_side_is_constant() -> None:
    assert whole(Matthews, predictions_of([1, 1, 1], [0, 1, 0])) == 0.0


def test_binary_figures_without_the_positive_class_are_nan() -> None:
    for make in (BinaryPrecision, BinaryRecall, BinaryF1):
        assert math.isnan(whole(make, predictions_of([0, 0], [0, 0])))
        assert whole(make, predictions_of([0, 0], [0, 1])) == 0.0


def test_roc_auc_of_one_class_only_is_nan() -> None:
    assert math.isnan(whole(BinaryRocAuc, predictions_of([1, 1], [1, 1], num_classes=2)))


def test_binary_figures_refuse_other_numbers_of_classes(single_label: Make, multi_label: Make) -> None:
    for make in BINARY:
        with pytest.raises(ConfigError, match="two classes, and the data has 4"):
            whole(make, single_label())
    with pytest.raises(ConfigError, match="f1_macro"):
        whole(BinaryF1, multi_label(num_classes=2))


def test_rows_without_labels_are_refused(as_predictions: Make) -> None:
    for make, predicted in ((Accuracy, [1, 0]), (F1, [1, 0]), (Pearson, [1.0, 0.0])):
        metric = make(average="macro") if make is F1 else make()
        with pytest.raises(DataError, match="no labels"):
            metric.update(as_predictions(predicted, None))


def test_every_shipped_figure_builds_from_its_yaml() -> None:
    import importlib

    import yaml

    folder = Path(__file__).resolve().parents[2] / "conf" / "metric"
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# @package metric.{path.stem}\n")
        options = yaml.safe_load(text)
        module, _, name = options.pop("_target_").rpartition(".")
        if path.stem == "evaluate":  # needs a script and permission: its own test
            continue
        metric = getattr(importlib.import_module(module), name)(**options)
        assert isinstance(metric, Metric)
        assert metric.suits  # type: ignore[attr-defined]
