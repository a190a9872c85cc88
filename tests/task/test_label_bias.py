"""Biases of an output layer that knows the labels and no text."""

from __future__ import annotations

import math

import pytest
import torch

from runwright.task.labels import UNSEEN, bias_of_labels


def test_single_labels_start_at_their_shares() -> None:
    bias = torch.tensor(bias_of_labels("single_label", [0] * 600 + [1] * 300 + [2] * 100, num_classes=3))
    assert bias.softmax(dim=0).tolist() == pytest.approx([0.6, 0.3, 0.1], abs=1e-3)


def test_labels_of_a_set_start_at_their_odds() -> None:
    bias = torch.tensor(bias_of_labels("multi_label", [[0, 1], [0], [], [0]] * 100, num_classes=3))
    assert bias.sigmoid().tolist() == pytest.approx([0.75, 0.25, UNSEEN / 401], abs=2e-3)


def test_numbers_start_at_their_mean() -> None:
    assert bias_of_labels("regression", [1.0, 2.0, 6.0], num_classes=0) == (3.0,)


def test_no_constant_predicts_better() -> None:
    labels = [0] * 30 + [1] * 10
    logits = torch.tensor(bias_of_labels("single_label", labels, num_classes=2))

    def loss(shift: float) -> float:
        moved = logits + torch.tensor([shift, 0.0])
        return torch.nn.functional.cross_entropy(moved.expand(40, 2), torch.tensor(labels)).item()

    assert loss(0.0) < min(loss(0.2), loss(-0.2)) + 1e-9
    assert math.isfinite(loss(0.0))
