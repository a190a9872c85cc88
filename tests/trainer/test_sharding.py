"""Layers that are sharded; several processes are in promises/test_sharded.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from runwright.errors import ConfigError
from runwright.trainer.ranks import ALONE
from runwright.trainer.sharding import layers_of, spread


def linear() -> torch.nn.Linear:
    return torch.nn.Linear(2, 2)


def test_the_layers_of_a_model_are_its_parts(make_task: Any, make_model: Any) -> None:
    model = make_model(make_task())
    assert layers_of(model) == list(model.bert.encoder.layer)


def test_lists_within_lists_and_within_layers_are_no_parts_of_their_own() -> None:
    inner = torch.nn.Sequential(linear())
    inner.add_module("more", torch.nn.ModuleList([linear(), linear()]))
    other, last = linear(), linear()
    lists = torch.nn.ModuleList([torch.nn.ModuleList([inner, other]), last, torch.nn.ReLU()])
    model = torch.nn.ModuleDict({"head": linear(), "layers": lists})
    assert layers_of(model) == [inner, other, last]


def test_a_layer_that_shares_a_weight_with_the_rest_stays_with_it() -> None:
    one, other, first, second, head = (linear() for _ in range(5))
    both = torch.nn.Sequential(first, second)
    first.weight = second.weight  # within one layer: no matter
    head.weight = other.weight
    layers = torch.nn.ModuleList([one, other, both])
    assert layers_of(torch.nn.ModuleDict({"layers": layers, "head": head})) == [one, both]


def test_a_layer_that_is_used_twice_is_one_part() -> None:
    shared = linear()
    assert layers_of(torch.nn.ModuleDict({"layers": torch.nn.ModuleList([shared, shared])})) == [shared]


def test_a_parameter_without_a_dimension_is_refused_by_name() -> None:
    model = linear()
    model.temperature = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ConfigError, match=r"launch.strategy: .* temperature .* shape \[1\]"):
        spread(model, replace(ALONE, sharded=True))
