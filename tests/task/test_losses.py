"""What is trained on: focal loss, weights, functions of one's own; a sum over any cut is the same."""

from __future__ import annotations

import math
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.config import permissions
from runwright.config.targets import check_node, instantiate
from runwright.errors import ConfigError
from runwright.task.losses import (
    IGNORED,
    Focal,
    MultiLabel,
    Objective,
    Regression,
    SingleLabel,
    loss_of_task,
)

NAMES = ["x", "y", "z"]
OWN = """
def tempered(logits, labels, *, temperature: float):
    import torch
    return torch.nn.functional.cross_entropy(logits / temperature, labels, reduction="none")

class Flat:
    def __init__(self, *, by: float):
        self.by = by
    def __call__(self, logits, labels):
        return logits.sum(dim=1) * 0 + self.by
"""


def objectives() -> dict[str, Objective]:
    weights = [0.2, 1.0, 3.7]
    single = partial(SingleLabel, label_smoothing=0.0)
    multi = partial(MultiLabel, num_labels=3, label_smoothing=0.0, threshold=0.5)
    return {
        "focal": single(class_weights=None, loss_function=Focal(gamma=2.0)),
        "focal with class weights": single(class_weights=weights, loss_function=Focal(gamma=0.5)),
        "cross-entropy with weights": single(class_weights=weights),
        "focal of sets": multi(class_weights=weights, loss_function=Focal(gamma=1.5)),
        "numbers": Regression(loss_function=partial(torch.nn.functional.huber_loss, reduction="none")),
    }


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "own_losses_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    permissions.grant(packages=[name], folder=tmp_path)
    monkeypatch.setattr("runwright.config.permissions._granted", permissions.granted())
    return name


# --- focal loss ---------------------------------------------------------------------------------------


def test_a_class_s_focal_loss_is_equation_4() -> None:
    logits = torch.tensor([[0.0, math.log(3), 0.0]], dtype=torch.float64)  # p of y: 3/5
    loss = Focal(gamma=2.0)(logits, torch.tensor([1]))
    assert loss.tolist() == pytest.approx([-((2 / 5) ** 2) * math.log(3 / 5)])


def test_each_label_of_a_set_is_a_problem_of_its_own() -> None:
    logits = torch.tensor([[math.log(4), math.log(4), 0.0]], dtype=torch.float64)  # p: 4/5, 4/5, 1/2
    labels = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    expected = [0.2**2 * -math.log(0.8), 0.8**2 * -math.log(0.2), 0.25 * math.log(2)]
    assert Focal(gamma=2.0)(logits, labels)[0].tolist() == pytest.approx(expected)


def test_without_gamma_it_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(Focal(gamma=0.0)(logits, labels), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_certainty_right_or_wrong_has_a_finite_gradient(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]] * 2, requires_grad=True)
    sets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    focal = Focal(gamma=gamma)
    total = focal(logits, torch.tensor([0, 2])).sum() + focal(logits, sets).sum()
    total.backward()
    assert total.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# --- sums ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(1, 11), max_size=4))
@pytest.mark.parametrize("name", list(objectives()))
def test_any_cut_sums_to_the_same(name: str, seed: int, cuts: list[int]) -> None:
    objective, chance = objectives()[name], np.random.default_rng(seed)
    logits = torch.tensor(chance.normal(0, 3, (12, 1 if name == "numbers" else 3)))
    ids = chance.integers(0, 3, 12).tolist()
    sets = [np.flatnonzero(chance.random(3) < 0.5).tolist() for _ in range(12)]
    raw = {"focal of sets": sets, "numbers": chance.normal(size=12).tolist()}.get(name, ids)
    whole = objective.loss(logits, objective.tensor(raw))
    borders = [0, *sorted(set(cuts)), 12]
    parts = [objective.loss(logits[a:b], objective.tensor(raw[a:b])) for a, b in pairwise(borders)]
    assert sum(float(part.total) for part in parts) == pytest.approx(float(whole.total), rel=1e-12)
    assert sum(part.count for part in parts) == pytest.approx(whole.count, rel=1e-12)
    assert whole.count == pytest.approx(objective.count(raw), rel=1e-12)


def test_class_weights_of_sets_are_of_the_positives_whatever_the_loss() -> None:
    own = partial(torch.nn.functional.binary_cross_entropy_with_logits, reduction="none")
    options: Any = {"num_labels": 3, "label_smoothing": 0.0, "threshold": 0.5}
    plain, with_own = (
        MultiLabel(class_weights=[0.2, 1.0, 3.7], loss_function=loss, **options) for loss in (None, own)
    )
    logits, labels = torch.randn(4, 3), plain.tensor([[0], [1, 2], [], [2]])
    torch.testing.assert_close(with_own.loss(logits, labels).total, plain.loss(logits, labels).total)


def test_labels_that_are_ignored_count_for_nothing() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, IGNORED, 2, IGNORED])
    for objective in (objectives()["focal with class weights"], objectives()["cross-entropy with weights"]):
        found, expected = objective.loss(logits, labels), objective.loss(logits[::2], labels[::2])
        torch.testing.assert_close(found.total, expected.total)
        assert found.count == expected.count == pytest.approx(0.2 + 3.7)


def test_a_batch_without_a_label_has_no_loss_but_a_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    objectives()["focal"].loss(logits, torch.tensor([IGNORED, IGNORED])).total.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0] * 3] * 2


def test_the_reported_loss_stays_plain(make_task: Any) -> None:
    task = make_task()
    task.loss_option = Focal(gamma=2.0)
    task.load_state_dict({"label_names": NAMES, "group_names": [], "class_weights": None})
    logits, labels = torch.randn(3, 3, dtype=torch.float64), torch.tensor([0, 1, 2])
    batch = {"example_ids": torch.arange(3), "labels": labels}
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose(task.predictions(logits, batch).losses, expected.numpy())
    assert float(task.loss(logits, batch).total) < float(expected.sum())


# --- one's own ----------------------------------------------------------------------------------------


def test_a_function_of_one_s_own_gets_its_options_now_and_logits_later(own_package: str) -> None:
    node = {"_target_": f"{own_package}.tempered", "temperature": 2.0}
    assert check_node(node, key="task.loss", group="task", nested=True) == []
    loss = instantiate({"_target_": f"{own_package}.Flat", "by": 3.0}, group="task")
    assert loss(torch.ones(2, 3), torch.tensor([0, 1])).tolist() == [3.0, 3.0]
    task = instantiate(
        {
            "_target_": "runwright.task.sequence_classification.SequenceClassification",
            "problem": "single_label", "text_column": "text", "text_pair_column": None,
            "label_column": "label", "label_separator": ",", "label_names": NAMES, "label_file": None,
            "group_column": None, "max_length": 8, "label_smoothing": 0.0, "class_weights": None,
            "threshold": 0.5, "bias_from_labels": False, "positive_label": None, "loss": node,
        },
        None,
        group="task",
    )  # fmt: skip
    task.load_state_dict({"label_names": NAMES, "group_names": [], "class_weights": None})
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    expected = torch.nn.functional.cross_entropy(logits / 2, labels, reduction="sum")
    torch.testing.assert_close(task.loss(logits, {"labels": labels}).total, expected)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "task.loss.temperature"),
        ({"temperature": "hot"}, "task.loss.temperature"),
        ({"t": 1}, "task.loss.t"),
    ],
)
def test_the_options_of_one_s_own_loss_are_checked(
    own_package: str, options: dict[str, Any], key: str
) -> None:
    node = {"_target_": f"{own_package}.tempered", **options}
    assert key in [mistake.key for mistake in check_node(node, key="task.loss", group="task", nested=True)]


def test_a_mean_is_refused() -> None:
    objective = SingleLabel(
        label_smoothing=0.0, class_weights=None, loss_function=torch.nn.functional.cross_entropy
    )
    with pytest.raises(ConfigError, match=r"given a tensor \[\], expected \[2\]"):
        objective.loss(torch.randn(2, 3), torch.tensor([0, 1]))


def test_what_cannot_be_called_is_no_loss() -> None:
    with pytest.raises(ConfigError, match="given dict, expected a function"):
        loss_of_task({})
