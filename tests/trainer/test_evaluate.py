"""Evaluation: every example once, whatever the batches; groups; no labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from runwright.predictions import join, select
from runwright.trainer.evaluate import evaluate, predict
from runwright.trainer.ranks import Ranks
from runwright.types import Predictions

ALONE = Ranks(rank=0, num_ranks=1, device=torch.device("cpu"))


def mean_prediction(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """A metric whose value can be computed by hand."""
    return weights @ predictions.predicted / weights.sum(axis=1)


def predicted(model: Any, task: Any, examples: Any, *, max_tokens: int) -> Predictions:
    return predict(model, task, examples, max_tokens=max_tokens, ranks=ALONE)


@pytest.mark.parametrize("max_tokens", [1, 20, 64, 10_000])
def test_every_example_is_predicted_once_in_the_order_of_ids(
    max_tokens: int, make_task: Any, make_examples: Any, make_model: Any
) -> None:
    task = make_task()
    examples, model = make_examples(task, 37), make_model(task, dropout=0.5, double=True)
    found = predicted(model, task, examples, max_tokens=max_tokens)
    assert found.example_ids.tolist() == sorted(examples.example_ids.tolist())
    alone = predicted(model, task, examples, max_tokens=1)
    assert found.scores is not None
    assert alone.scores is not None
    assert np.abs(found.scores - alone.scores).max() < 1e-12  # batches and padding change nothing
    assert found.expected is not None
    assert found.expected.tolist() == [item["labels"] for item in examples.items]


def test_the_loss_is_the_mean_over_examples(make_task: Any, make_examples: Any, make_model: Any) -> None:
    task = make_task()
    examples, model = make_examples(task, 11), make_model(task, double=True).eval()
    batch = task.collate(examples.items)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(task.forward(model, batch), batch["labels"]).item()
    found = evaluate(predicted(model, task, examples, max_tokens=30), metrics={})
    assert found.metrics["loss"] == pytest.approx(expected, rel=1e-12)


def test_evaluation_leaves_the_mode_of_the_model(make_task: Any, make_examples: Any, make_model: Any) -> None:
    task = make_task()
    model = make_model(task).train()
    predicted(model, task, make_examples(task, 3), max_tokens=100)
    assert model.training


def test_groups_have_their_own_figures() -> None:
    predictions = Predictions(
        example_ids=np.arange(4),
        predicted=np.array([1, 1, 0, 2]),
        expected=np.zeros(4, dtype=int),
        scores=None,
        losses=np.array([1.0, 2.0, 3.0, 6.0]),
        groups=np.array([0, 1, 1, 1]),
    )
    found = evaluate(predictions, metrics={"mean": mean_prediction}, group_names=["a", "b", "never"])
    assert found.metrics == {
        "loss": 3.0,
        "mean": 1.0,
        "loss/a": 1.0,
        "mean/a": 1.0,
        "loss/b": pytest.approx(11 / 3),
        "mean/b": 1.0,
    }


def test_without_labels_there_are_predictions_and_no_figures(
    make_task: Any, make_examples: Any, make_model: Any
) -> None:
    task = make_task()
    examples = make_examples(task, 5)
    for item in examples.items:
        del item["labels"]
    found = evaluate(
        predicted(make_model(task), task, examples, max_tokens=50), metrics={"m": mean_prediction}
    )
    assert found.metrics == {}
    assert len(found.predictions.predicted) == 5


def test_joining_parts_in_any_order_gives_the_same() -> None:
    whole = Predictions(
        example_ids=np.array([3, 1, 2, 0]),
        predicted=np.array([30, 10, 20, 0]),
        expected=None,
        scores=None,
        losses=None,
    )
    one, two = select(whole, np.array([2, 0])), select(whole, np.array([3, 1]))
    for parts in ([one, two], [two, one], [whole]):
        assert join(parts).predicted.tolist() == [0, 10, 20, 30]
