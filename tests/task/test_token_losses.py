"""Losses over target tokens in pieces: the same as from all logits, for each way of finishing them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
import transformers
from torch import Tensor

from runwright.task import generating as token_losses
from runwright.task.text import IGNORED

V = 61
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "GPT2Config": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    "LlamaConfig": SIZES,
    "Qwen2Config": {**SIZES, "num_key_value_heads": 2},
    "Gemma3TextConfig": {**SIZES, "head_dim": 4, "num_key_value_heads": 1, "final_logit_softcapping": 0.5},
    "CohereConfig": SIZES,
    "GraniteConfig": {**SIZES, "logits_scaling": 3.0},
    "BertConfig": {**SIZES, "is_decoder": True},  # a bias in the head
}


def tiny(name: str, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, name)(vocab_size=V, max_position_embeddings=16, **ids, **CONFIGS[name])
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def batch() -> tuple[dict[str, Tensor], Tensor]:
    ids = torch.arange(24).view(2, 12) * 7 % (V - 3) + 3
    labels = F.pad(ids[:, 1:], (0, 1), value=IGNORED)
    labels[1, 6:] = IGNORED
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, labels


def loss_and_gradient(model: Any, losses: Tensor) -> tuple[float, Tensor]:
    model.zero_grad()
    losses.sum().backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return float(losses.sum().detach()), torch.cat(gradients)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_pieces_give_the_loss_and_the_gradient_of_all_logits(
    name: str, smoothing: float, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_losses, "PIECE", 5 * V)
    model, (inputs, labels) = tiny(name, dtype), batch()
    losses = token_losses.token_losses(model, inputs, labels, label_smoothing=smoothing)
    assert token_losses._by_pieces[model]
    total, gradient = loss_and_gradient(model, losses)
    logits, goal = model(**inputs).logits[labels != IGNORED], labels[labels != IGNORED]
    plain = F.cross_entropy(logits, goal, reduction="none", label_smoothing=smoothing)
    expected, expected_gradient = loss_and_gradient(model, plain)
    assert total == pytest.approx(expected, rel=tolerance)
    assert (gradient - expected_gradient).norm() < tolerance * expected_gradient.norm()


def test_a_frozen_head_gets_no_gradient_and_what_is_below_it_the_same() -> None:
    model, (inputs, labels) = tiny("Qwen2Config"), batch()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone(), requires_grad=False)
    (by_pieces, gradient), (whole, expected) = (
        loss_and_gradient(model, token_losses.token_losses(model, inputs, labels, whole=whole))
        for whole in (False, True)
    )
    assert by_pieces == pytest.approx(whole, rel=1e-10)
    assert (gradient - expected).norm() < 1e-10 * expected.norm()


def test_a_head_with_a_rule_of_its_own_gets_its_own_logits() -> None:
    model, (inputs, labels) = tiny("LlamaConfig"), batch()
    forward = model.forward

    def scaled(**inputs: Any) -> Any:
        outputs = forward(**inputs)
        outputs.logits = outputs.logits * 2
        return outputs

    model.forward = scaled
    losses = token_losses.token_losses(model, inputs, labels)
    logits = model(**inputs).logits[labels != IGNORED]
    expected = F.cross_entropy(logits, labels[labels != IGNORED], reduction="none")
    assert torch.equal(losses, expected)


def test_losses_under_autocast_are_float32() -> None:
    model, (inputs, labels) = tiny("LlamaConfig", torch.float32), batch()
    exact = token_losses.token_losses(model, inputs, labels)
    with torch.autocast("cpu", torch.bfloat16):
        losses = token_losses.token_losses(model, inputs, labels)
    losses.sum().backward()
    assert losses.dtype == model.lm_head.weight.grad.dtype == torch.float32
    torch.testing.assert_close(losses, exact, atol=0.05, rtol=0.0)


def test_a_batch_without_a_target_has_no_losses_and_a_gradient_of_zero() -> None:
    model, (inputs, labels) = tiny("GPT2Config"), batch()
    losses = token_losses.token_losses(model, inputs, torch.full_like(labels, IGNORED))
    total, gradient = loss_and_gradient(model, losses)
    assert (total, losses.numel(), float(gradient.abs().sum())) == (0.0, 0, 0.0)
