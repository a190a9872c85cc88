"""Which parameters each kind of part freezes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runwright.model.parameters import freeze_parts

ARCHITECTURES = ["bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert", "gpt2", "t5"]


def frozen(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_freezing_the_encoder_leaves_the_head(make_small: Callable[..., Any], architecture: str) -> None:
    model = make_small(architecture)
    names = freeze_parts(model, ["encoder"], new=())
    inside = {name for name, _ in model.named_parameters() if name.startswith(f"{model.base_model_prefix}.")}
    assert set(names) == frozen(model) == inside
    assert len(inside) < len(list(model.parameters()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_freezing_embeddings_and_layers_leaves_what_is_above(
    make_small: Callable[..., Any], architecture: str
) -> None:
    model = make_small(architecture)
    freeze_parts(model, ["embeddings", "layers:1"], new=())
    assert model.get_input_embeddings().weight.requires_grad is False
    assert any(".0." in name for name in frozen(model))
    assert not any(
        ".1." in name.replace("layer.1.DenseRelu", "") for name in frozen(model) if "t5" not in architecture
    )


def test_a_pattern_freezes_what_it_matches(make_small: Callable[..., Any]) -> None:
    model = make_small("bert")
    freeze_parts(model, ["*.bias"], new=())
    assert frozen(model) == {name for name, _ in model.named_parameters() if name.endswith(".bias")}


def test_what_no_checkpoint_has_filled_is_not_frozen_with_its_part(make_small: Callable[..., Any]) -> None:
    model = make_small("bert")
    names = freeze_parts(model, ["encoder"], new={"bert.pooler.dense.weight"})
    assert "bert.pooler.dense.weight" not in names
    assert "bert.pooler.dense.bias" in names
