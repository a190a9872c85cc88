"""Embedding gradients as rows: the same gradient, whatever the cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runwright.trainer.batches import Batches, Cut
from runwright.trainer.ranks import ALONE, sum_gradients
from runwright.trainer.sharding import use_sparse_gradients


@pytest.mark.parametrize("size", [1, 3, 8])
def test_rows_give_the_gradient_of_the_table(
    size: int, make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any
) -> None:
    task = make_task()
    batches = Batches(make_examples(task, 8), task, batch_size=8, seed=0, cut=Cut(microbatch_size=size))
    caught: list[dict[str, torch.Tensor]] = []
    for sparse in (False, True):
        model = make_model(task, double=True)
        if sparse:
            use_sparse_gradients(model)
            assert model.bert.embeddings.word_embeddings.sparse
        stepper = make_stepper(model, task)
        found: dict[str, torch.Tensor] = {}
        stepper.optimizer.register_step_pre_hook(
            lambda *_, model=model, found=found: found.update(
                {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            )
        )
        stepper.step(batches.at(0))
        caught.append(found)
    dense, rows = caught
    assert dense.keys() == rows.keys()
    for name, gradient in dense.items():
        assert rows[name].layout is torch.strided
        torch.testing.assert_close(rows[name], gradient, rtol=1e-12, atol=1e-14)


def test_shared_tables_stay_dense() -> None:
    table, output = torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5, bias=False)
    output.weight = table.weight
    alone = torch.nn.Embedding(5, 3)
    use_sparse_gradients(torch.nn.ModuleList([table, output, alone]))
    assert not table.sparse
    assert alone.sparse


def test_rows_are_filled_in_and_other_gradients_left() -> None:
    table, layer = torch.nn.Embedding(5, 3, sparse=True), torch.nn.Linear(3, 2)
    layer(table(torch.tensor([1, 1, 4]))).sum().backward()
    before = layer.weight.grad
    sum_gradients([*table.parameters(), *layer.parameters()], ALONE)
    assert table.weight.grad is not None
    assert not table.weight.grad.is_sparse
    assert table.weight.grad[1].tolist() == pytest.approx((2 * layer.weight.sum(0)).tolist())
    assert layer.weight.grad is before
