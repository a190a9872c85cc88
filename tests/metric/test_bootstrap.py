"""Intervals: the seed decides, the coverage is right, and functions of predictions alone have them too."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from runwright.config import permissions
from runwright.errors import ConfigError
from runwright.metric import bootstrap, classification
from runwright.metric.bootstrap import bootstrap_interval, make_metric
from runwright.metric.classification import accuracy, roc_auc
from runwright.metric.means import pearson
from runwright.predictions import select
from runwright.types import Predictions

Make = Callable[..., Predictions]


def test_every_column_is_resampled_alike(single_label: Make) -> None:
    data = dataclasses.replace(single_label(), losses=np.arange(200.0), groups=np.arange(200))
    chosen = select(data, np.array([5, 5, 2]))
    assert chosen.losses is not None
    assert chosen.groups is not None
    assert chosen.example_ids.tolist() == chosen.losses.tolist() == chosen.groups.tolist() == [5, 5, 2]
    assert chosen.scores is not None
    assert data.scores is not None
    assert np.array_equal(chosen.scores, data.scores[[5, 5, 2]])


def test_the_seed_decides_and_blocks_do_not(regression: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = regression()
    first = bootstrap_interval(pearson, data, num_samples=100, seed=1)
    assert bootstrap_interval(pearson, data, num_samples=100, seed=1) == first
    assert bootstrap_interval(pearson, data, num_samples=100, seed=2) != first
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    assert bootstrap_interval(pearson, data, num_samples=100, seed=1) == first


def test_pooled_pairs_are_judged_in_blocks(single_label: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.random.default_rng(0).integers(0, 3, size=(7, 50)).astype(float)
    whole = roc_auc(single_label(50), weights, average="micro")
    monkeypatch.setattr(classification, "_CELLS", 1000)  # 5 rows of weights
    assert roc_auc(single_label(50), weights, average="micro").tolist() == whole.tolist()


def test_the_interval_of_a_share_is_near_the_normal_one(as_predictions: Make) -> None:
    right = np.arange(400) < 300
    interval = bootstrap_interval(accuracy, as_predictions(right.astype(int), np.ones(400, int)), seed=0)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - half, abs=0.006)
    assert interval.high == pytest.approx(0.75 + half, abs=0.006)


def test_undefined_resamples_are_left_out(as_predictions: Make) -> None:
    # A resample without the one positive example has no area.
    data = as_predictions([1, 0, 0], [1, 0, 0], [[0.1, 0.9], [0.6, 0.4], [0.7, 0.3]])
    interval = bootstrap_interval(partial(roc_auc, average="binary"), data, seed=0)
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_a_resample_of_one_repeated_value_has_no_correlation(as_predictions: Make) -> None:
    data = as_predictions(np.array([0.1, 0.7]), np.array([0.3, 0.9]))
    interval = bootstrap_interval(pearson, data, seed=0)
    assert (interval.low, interval.high) == (1.0, 1.0)


@pytest.mark.parametrize(("num_examples", "expected"), [(400, 1000), (2_000_000, 500), (10_000_000, 200)])
def test_many_examples_take_fewer_resamples(
    num_examples: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(bootstrap, "resamples", lambda _, count, __: asked.append(count) or [])
    data: Any = SimpleNamespace(example_ids=range(num_examples))

    def nothing(*_: Any) -> Any:
        return np.zeros(1)

    bootstrap_interval(nothing, data, seed=0)
    assert asked == [expected]


def test_no_examples_or_no_value_give_nan(as_predictions: Make) -> None:
    for values in ([], [1.0, 1.0]):
        interval = bootstrap_interval(pearson, as_predictions(np.array(values), np.array(values)), seed=0)
        assert all(math.isnan(x) for x in (interval.value, interval.low, interval.high))


def test_3000_rows_take_less_than_a_second(regression: Make) -> None:
    data = regression(num_examples=3000)
    started = time.process_time()
    bootstrap_interval(pearson, data, seed=0)
    assert time.process_time() - started < 1.0


# --- functions of a user's own --------------------------------------------------------------------------

OWN = """
import numpy as np
from runwright.types import Table

def share_right(predictions, *, bonus: float) -> float:
    return float((predictions.predicted == predictions.expected).mean()) + bonus

def counts(predictions) -> Table:
    return np.bincount(predictions.predicted)[None]
"""


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_metrics").mkdir()
    (tmp_path / "own_metrics" / "__init__.py").write_text("")
    (tmp_path / "own_metrics" / "plain.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    permissions.grant(packages=["own_metrics"])
    yield
    permissions.grant()


@pytest.mark.usefixtures("own_package")
def test_a_function_of_predictions_alone_has_an_interval(single_label: Make) -> None:
    node = {"_target_": "own_metrics.plain.share_right", "bonus": 0.5, "suits": ["single_label"]}
    own = make_metric(node, key="metric.own")
    weights = np.random.default_rng(0).integers(1, 4, size=(3, 200)).astype(float)
    assert own(single_label(), weights) == pytest.approx(accuracy(single_label(), weights) + 0.5)
    found = bootstrap_interval(own, single_label(), num_samples=50, seed=3)
    wanted = bootstrap_interval(accuracy, single_label(), num_samples=50, seed=3)
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name) + 0.5, abs=1e-12)


@pytest.mark.usefixtures("own_package")
def test_a_table_keeps_its_type(single_label: Make) -> None:
    table = make_metric({"_target_": "own_metrics.plain.counts"}, key="metric.own")
    found = table(single_label(), np.ones((1, 200)))
    assert found.dtype == np.int64
    assert found.shape == (1, 1, 4)


def test_options_that_a_metric_does_not_take_are_refused() -> None:
    node = {"_target_": "runwright.metric.means.pearson", "power": 2}
    with pytest.raises(ConfigError, match=r"metric\.own: given arguments that .*pearson does not take"):
        make_metric(node, key="metric.own")


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "roc_auc"])
def test_metrics_of_class_0_are_scikit_learn_s_with_that_label(single_label: Make, name: str) -> None:
    predictions = single_label(num_classes=2, seed=3)
    expected, scores = np.asarray(predictions.expected), np.asarray(predictions.scores)
    target = {
        "_target_": f"runwright.metric.classification.{'roc_auc' if name == 'roc_auc' else 'class_score'}"
    }
    node = target | {"average": "binary"} | ({} if name == "roc_auc" else {"score": name})
    metric = make_metric(node, key="metric.x", positive=0)
    if name == "roc_auc":
        theirs = sk.roc_auc_score(expected == 0, scores[:, 0])
    else:
        theirs = getattr(sk, f"{name}_score")(expected, predictions.predicted, pos_label=0)
    assert metric(predictions, np.ones((1, len(expected))))[0] == pytest.approx(theirs, abs=1e-12)
