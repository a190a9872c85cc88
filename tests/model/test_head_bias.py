"""The first bias of a new output layer, and of none that was trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from runwright.errors import ConfigError
from runwright.types import Head

BIAS = (-1.0, 0.5, 2.0)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "t5"])
def test_a_new_output_layer_starts_there(
    make_small: Callable[..., Any], head: Head, architecture: str
) -> None:
    model = make_small(architecture, head=replace(head, initial_bias=BIAS))
    found = [p for name, p in model.named_parameters() if name.endswith("bias") and p.shape == (3,)]
    assert torch.equal(found[-1].detach(), torch.tensor(BIAS))


def test_a_trained_output_layer_keeps_its_bias(
    load_one: Callable[..., Any], make_small: Callable[..., Any], head: Head, tmp_path: Path
) -> None:
    trained = make_small("bert")
    trained.classifier.bias.data.fill_(7.0)
    trained.save_pretrained(tmp_path)
    model = load_one(name=str(tmp_path), head=replace(head, initial_bias=BIAS))
    assert model.classifier.bias.tolist() == [7.0, 7.0, 7.0]


def test_an_output_layer_without_a_bias_is_refused(make_small: Callable[..., Any], head: Head) -> None:
    with pytest.raises(ConfigError, match="bias_from_labels"):
        make_small("gpt2", head=replace(head, initial_bias=BIAS))
