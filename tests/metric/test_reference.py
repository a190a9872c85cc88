"""Figures against what the reference implementations gave, and against the packages at their edges."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from runwright.metric.answers import text_exact_match, text_f1
from runwright.metric.classification import accuracy, class_score, matthews, roc_auc
from runwright.metric.means import mean_absolute_error, mean_squared_error, pearson, spearman
from runwright.types import Predictions

Make = Callable[..., Predictions]

# Random answers with what the evaluation of SQuAD 2.0 and that of CMRC 2018 say of them: [prediction,
# expected, exact match, F1]. Of CMRC only Chinese: its words of other scripts are cut by nltk.
ANSWERS = json.loads(Path(__file__).with_name("reference_answers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("rules", ["squad", "cmrc"])
def test_answers_are_judged_as_by_the_reference(rules: Literal["squad", "cmrc"]) -> None:
    assert len(ANSWERS[rules]) >= 150
    assert {exact for *_, exact, _ in ANSWERS[rules]} == {0, 1}
    assert any(0 < nearest < 1 for *_, nearest in ANSWERS[rules])
    for predicted, expected, exact, nearest in ANSWERS[rules]:
        assert text_exact_match(predicted, expected, rules=rules) == exact, (predicted, expected)
        assert text_f1(predicted, expected, rules=rules) == pytest.approx(nearest, abs=1e-12), predicted


def value(metric: Any, predictions: Predictions, **options: Any) -> float:
    return metric(predictions, np.ones((1, len(predictions.example_ids))), **options)[0]


CLASSES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(pairs=CLASSES)
def test_few_examples_and_absent_classes_are_those_of_scikit_learn(
    as_predictions: Make, pairs: list[tuple[int, int]]
) -> None:
    predicted, expected = np.array(pairs, dtype=np.int64).T
    predictions = as_predictions(predicted, expected, np.full((len(pairs), 4), 0.25))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert value(accuracy, predictions) == pytest.approx(sk.accuracy_score(expected, predicted))
        assert value(matthews, predictions) == pytest.approx(sk.matthews_corrcoef(expected, predicted))
        for average in ("micro", "macro", "weighted"):
            for ours in ("precision", "recall", "f1"):
                wanted = getattr(sk, f"{ours}_score")(expected, predicted, average=average, zero_division=0)
                found = value(class_score, predictions, score=ours, average=average)
                assert found == pytest.approx(wanted, abs=1e-12)


TIED = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 1.0])


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(TIED, st.booleans()), min_size=1, max_size=12))
def test_the_area_under_the_curve_with_ties_is_that_of_scikit_learn(
    as_predictions: Make, pairs: list[tuple[float, bool]]
) -> None:
    scores, expected = np.array([score for score, _ in pairs]), np.array([int(label) for _, label in pairs])
    both = np.stack([1 - scores, scores], axis=1)
    predictions = as_predictions((scores > 0.5).astype(np.int64), expected, both)
    found = value(roc_auc, predictions, average="binary")
    if len(set(expected.tolist())) == 1:
        assert math.isnan(found)  # of one class there is no such area
    else:
        assert found == pytest.approx(sk.roc_auc_score(expected, scores), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12))
def test_numbers_with_ties_are_those_of_scipy_and_scikit_learn(
    as_predictions: Make, pairs: list[tuple[int, int]]
) -> None:
    predicted, expected = np.array(pairs, dtype=np.float64).T
    predictions = as_predictions(predicted, expected)
    assert value(mean_absolute_error, predictions) == pytest.approx(
        sk.mean_absolute_error(expected, predicted), abs=1e-12
    )
    assert value(mean_squared_error, predictions) == pytest.approx(
        sk.mean_squared_error(expected, predicted), abs=1e-12
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's own, where one side is constant: both give NaN
        linear, ranked = stats.pearsonr(expected, predicted)[0], stats.spearmanr(expected, predicted)[0]
    assert value(pearson, predictions) == pytest.approx(linear, abs=1e-9, nan_ok=True)
    assert value(spearman, predictions) == pytest.approx(ranked, abs=1e-9, nan_ok=True)
