"""One update: the cut does not matter, counts are global, non-finite steps are handled."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from runwright.task.base import Task
from runwright.trainer.batches import Batches, Cut
from runwright.trainer.ranks import ALONE
from runwright.trainer.step import NonFiniteError, Stepper
from runwright.types import LossSum

CUTS = [
    Cut(),
    Cut(microbatch_size=4),
    Cut(microbatch_size=3),
    Cut(microbatch_size=1),
    Cut(microbatch_tokens=24),
]


def gradients(stepper: Stepper, batches: Batches) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of step 0, caught before they are cleared."""
    caught: dict[str, torch.Tensor] = {}

    def catch(*_: Any) -> None:
        for name, parameter in stepper.model.named_parameters():
            if parameter.grad is not None:
                caught[name] = parameter.grad.clone()

    stepper.optimizer.register_step_pre_hook(catch)
    return stepper.step(batches.at(0)).loss, caught


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.7]])
def test_the_cut_of_a_batch_changes_neither_loss_nor_gradient(
    problem: str, weights: Any, make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task(problem, weights=None if problem == "regression" else weights, label_smoothing=0.1)
    examples = make_examples(task, 8)
    results = []
    for cut in CUTS:
        stepper = make_stepper(make_model(task, double=True), task)
        results.append(gradients(stepper, Batches(examples, task, batch_size=8, seed=0, cut=cut)))
    loss, reference = results[0]
    norm = math.sqrt(sum(float(g.square().sum()) for g in reference.values()))
    for other_loss, other in results[1:]:
        assert abs(other_loss - loss) <= 1e-10 * abs(loss)
        for name, gradient in reference.items():
            assert float((other[name] - gradient).norm()) <= 1e-10 * norm, name


def test_loss_is_torch_s_weighted_and_smoothed_mean(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task(weights=[0.2, 1.0, 3.7], label_smoothing=0.1)
    examples, model = make_examples(task, 8), make_model(task, double=True)
    batch = task.collate(examples.items)
    expected = torch.nn.functional.cross_entropy(
        task.forward(model, batch),
        batch["labels"],
        weight=torch.tensor([0.2, 1.0, 3.7], dtype=torch.float64),
        label_smoothing=0.1,
    )
    batches = Batches(examples, task, batch_size=8, seed=0, cut=Cut(microbatch_size=3))
    assert make_stepper(model, task).step(batches.at(0)).loss == pytest.approx(expected.item(), rel=1e-12)


def test_dropout_is_a_function_of_seed_step_and_microbatch(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task()
    examples, model = make_examples(task, 16), make_model(task, dropout=0.3)
    batches = Batches(examples, task, batch_size=8, seed=0, cut=Cut(microbatch_size=4))
    stepper = make_stepper(model.eval(), task)  # as from_pretrained leaves a model
    batch = batches.at(0)
    first = stepper.step(batch).loss
    torch.randn(1000)  # chance used elsewhere
    assert stepper.step(batches.at(0)).loss == first
    assert stepper.step(replace(batch, step=1)).loss != first
    swapped = tuple(replace(part, index=1 - part.index) for part in batch.microbatches)
    assert stepper.step(replace(batch, microbatches=swapped)).loss != first
    assert make_stepper(model, task, dropout_seed=1).step(batches.at(0)).loss != first


def test_a_non_finite_step_names_itself_and_leaves_the_weights(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task("regression")
    examples, model = make_examples(task, 4), make_model(task)
    examples.items[0]["labels"] = math.inf
    batches = Batches(examples, task, batch_size=4, seed=0, cut=Cut())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(NonFiniteError, match="step 1: loss inf"):
        make_stepper(model, task, optimizer=optimizer).step(batches.at(0))
    model.zero_grad()
    make_stepper(model, task, optimizer=optimizer, non_finite="skip").step(batches.at(0))
    examples.items[0]["labels"] = 0.0
    next(iter(model.classifier.parameters())).register_hook(lambda gradient: gradient * math.inf)
    skipped = make_stepper(model, task, optimizer=optimizer, non_finite="skip").step(batches.at(0))
    assert (math.isfinite(skipped.loss), math.isfinite(skipped.gradient_norm)) == (True, False)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_clipping_bounds_the_norm_and_reports_it_unclipped(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task()
    examples, model = make_examples(task, 8), make_model(task)
    batches = Batches(examples, task, batch_size=8, seed=0, cut=Cut())
    free = make_stepper(model, task)
    result = free.step(batches.at(0))
    limit = result.gradient_norm / 4
    clipped = make_stepper(model, task, max_grad_norm=limit)
    _, caught = gradients(clipped, batches)
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in caught.values()))
    assert norm == pytest.approx(limit, rel=1e-4)


def test_a_scaler_of_gradients_changes_neither_their_norm_nor_the_step(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task()
    batch = Batches(make_examples(task, 8), task, batch_size=8, seed=0, cut=Cut(microbatch_size=3)).at(0)
    scaled: Any = SimpleNamespace(
        scaler=torch.amp.GradScaler("cpu", init_scale=1024.0),
        autocast=nullcontext,
        clip_grad_norm_=torch.nn.utils.clip_grad_norm_,
        native_amp=False,
    )
    ends = []
    for accelerator in (None, scaled):
        model, ranks = make_model(task), replace(ALONE, accelerator=accelerator)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        stepper = make_stepper(model, task, optimizer=optimizer, ranks=ranks, max_grad_norm=0.01)
        ends.append((stepper.step(batch), model.state_dict()))
    (plain, weights), (other, others) = ends
    assert other.loss == plain.loss
    assert other.gradient_norm == pytest.approx(plain.gradient_norm, rel=1e-6)
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value)


class Contrastive(Task):
    """In-batch negatives over two halves of a vector, a toy: each example should be most like itself."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def collate(self, examples: Any) -> Any:
        return self.inner.collate(examples)

    def forward(self, model: Any, batch: Any) -> torch.Tensor:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return model.bert(**inputs).pooler_output

    def loss(self, outputs: torch.Tensor, batch: Any) -> LossSum:
        raise AssertionError("a coupled task has no loss of a microbatch")

    def coupled_loss(self, outputs: torch.Tensor) -> LossSum:
        first, second = outputs.chunk(2, dim=1)
        similarity = first @ second.T
        targets = torch.arange(len(outputs))
        total = torch.nn.functional.cross_entropy(similarity, targets, reduction="sum")
        return LossSum(total=total, count=float(len(outputs)))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_coupled_loss_is_exact_under_any_cut(
    dropout: float, make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    inner = make_task()
    task, examples = Contrastive(inner), make_examples(inner, 8)
    assert inner.coupled_loss is None
    whole = make_model(inner, double=True)  # without dropout: the plain computation on the whole batch
    batch = task.collate(examples.fetch([7, 6, 5, 4, 3, 2, 1, 0]))
    expected = task.coupled_loss(task.forward(whole, batch))
    (expected.total / 8).backward()
    for cut in CUTS:
        stepper = make_stepper(make_model(inner, double=True, dropout=dropout), task)
        loss, caught = gradients(stepper, Batches(examples, task, batch_size=8, seed=0, cut=cut))
        if dropout:
            again = gradients(stepper, Batches(examples, task, batch_size=8, seed=0, cut=cut))
            assert again[0] == loss
            continue
        assert loss == pytest.approx(expected.total.item() / 8, rel=1e-12)
        reference = {n: p.grad for n, p in whole.named_parameters() if p.grad is not None}
        norm = math.sqrt(sum(float(g.square().sum()) for g in reference.values()))
        assert reference.keys() == caught.keys()
        for name, gradient in reference.items():
            assert float((caught[name] - gradient).norm()) <= 1e-10 * norm, name


def test_a_coupled_step_has_the_same_dropout_in_both_passes(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    """A small step along the gradient lowers just the loss whose outputs were drawn."""
    inner = make_task()
    task, examples = Contrastive(inner), make_examples(inner, 8)
    model = make_model(inner, double=True, dropout=0.3)
    batches = Batches(examples, task, batch_size=8, seed=0, cut=Cut(microbatch_size=3))
    size = 1e-6
    stepper = make_stepper(model, task, optimizer=torch.optim.SGD(model.parameters(), lr=size))
    first = stepper.step(batches.at(0))
    second = stepper.step(batches.at(0))
    assert (first.loss - second.loss) / size == pytest.approx(first.gradient_norm**2, rel=1e-3)


def test_a_step_with_nothing_to_train_on_leaves_everything_as_it_is(
    make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any, caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task()
    stepper = make_stepper(make_model(task), task)
    whole = Batches(make_examples(task, 4), task, batch_size=4, seed=0, cut=Cut()).at(0)
    empty = replace(whole, microbatches=tuple(replace(m, count=0.0) for m in whole.microbatches))
    before = {name: tensor.clone() for name, tensor in stepper.model.state_dict().items()}
    result = stepper.step(empty, stop=3)
    assert (result.loss, result.gradient_norm, result.stop) == (0.0, 0.0, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in stepper.model.state_dict().items())
    assert not stepper.optimizer.state
    assert "step 1: none of its 4 examples has anything to train on" in caplog.text
