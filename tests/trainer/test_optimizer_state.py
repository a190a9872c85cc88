"""Optimizer state travels by parameter name and gives the same next steps."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch

from runwright.errors import CheckpointError
from runwright.trainer.sharding import read_optimizer, write_optimizer

MAKERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
}


def train(model: Any, optimizer: Any, *, start: int, steps: int) -> None:
    for step in range(start, start + steps):
        torch.manual_seed(step)
        model(torch.randn(4, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("maker", MAKERS)
def test_a_restored_optimizer_goes_on_bit_for_bit(maker: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3))
    optimizer = MAKERS[maker](model.parameters())
    train(model, optimizer, start=0, steps=3)
    tensors, rest = read_optimizer(optimizer, model)
    other = copy.deepcopy(model)
    restored = MAKERS[maker](other.parameters())
    write_optimizer(restored, other, tensors=tensors, rest=json.loads(json.dumps(rest)))
    train(model, optimizer, start=3, steps=3)
    train(other, restored, start=3, steps=3)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_other_parameters_are_refused_by_name() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    tensors, rest = read_optimizer(torch.optim.SGD(model.parameters(), lr=1.0), model)
    frozen = torch.optim.SGD([model[0].weight], lr=1.0)
    with pytest.raises(CheckpointError, match=r"0\.bias"):
        write_optimizer(frozen, model, tensors=tensors, rest=rest)
