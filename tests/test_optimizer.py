"""Parameter groups on real architectures, and the optimizers built over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForSequenceClassification

from runwright import optimizer as optimizers
from runwright.errors import ConfigError
from runwright.model.parameters import parameter_depths
from runwright.optimizer import parameter_groups

CONF = Path(__file__).resolve().parents[1] / "conf" / "optimizer"
SMALL = {
    "bert": {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8},
    "distilbert": {"dim": 8, "n_layers": 3, "n_heads": 2, "hidden_dim": 8},
    "deberta-v2": {
        "hidden_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
    },
    "gpt2": {"n_embd": 8, "n_layer": 3, "n_head": 2, "pad_token_id": 0},
    "t5": {"d_model": 8, "d_kv": 4, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2, "d_ff": 8},
    "albert": {
        "hidden_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "embedding_size": 8,
    },
}
COMMON: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.1}


def make_model(architecture: str) -> torch.nn.Module:
    config = AutoConfig.for_model(architecture, vocab_size=20, num_labels=2, **SMALL[architecture])
    return AutoModelForSequenceClassification.from_config(config)


def names_by_group(groups: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {group["name"]: [name for name, _ in group["params"]] for group in groups}


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("head_lr", [None, 0.5])
def test_every_trainable_parameter_is_in_exactly_one_group(architecture: str, head_lr: float | None) -> None:
    model = make_model(architecture)
    next(model.parameters()).requires_grad_(False)
    groups = parameter_groups(model, **COMMON, head_lr=head_lr)
    found = [name for names in names_by_group(groups).values() for name in names]
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert sorted(found) == sorted(trainable)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("architecture", SMALL)
def test_vectors_have_no_decay_and_matrices_have(architecture: str) -> None:
    groups = parameter_groups(make_model(architecture), **COMMON)
    dimensions = {group["name"]: {p.dim() for _, p in group["params"]} for group in groups}
    assert dimensions["no_decay"] == {1}
    assert 1 not in dimensions["decay"]
    assert {group["name"]: group["weight_decay"] for group in groups} == {"decay": 0.1, "no_decay": 0.0}


LADDERS = {  # lowest, in the first layer, in the head, number of layers
    "bert": ("bert.embeddings.word_embeddings.weight", "layer.0.output.dense.weight", "classifier", 3),
    "distilbert": (
        "distilbert.embeddings.word_embeddings.weight",
        "layer.0.ffn.lin1.weight",
        "classifier",
        3,
    ),
    "deberta-v2": ("deberta.encoder.rel_embeddings.weight", "layer.0.output.dense.weight", "classifier", 3),
    "gpt2": ("transformer.wpe.weight", "h.0.mlp.c_fc.weight", "score", 3),
    "t5": ("transformer.shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight", "out_proj", 3),
    "albert": ("albert.embeddings.position_embeddings.weight", "albert_layers.0.ffn.weight", "classifier", 1),
}


@pytest.mark.parametrize("architecture", LADDERS)
def test_depths_rise_from_the_embeddings_to_the_head(architecture: str) -> None:
    lowest, first_layer, head, num_layers = LADDERS[architecture]
    depths, counted = parameter_depths(make_model(architecture))
    assert counted == num_layers
    assert depths[lowest] == 0
    assert {depth for name, depth in depths.items() if name.endswith(first_layer)} == {1}
    assert {depth for name, depth in depths.items() if head in name} == {num_layers + 1}


def test_a_decoders_layers_lie_above_its_encoders() -> None:
    depths, _ = parameter_depths(make_model("t5"))
    layers = ("encoder.block.0", "encoder.block.1", "decoder.block.0")
    found = [{d for n, d in depths.items() if n.startswith(f"transformer.{layer}.")} for layer in layers]
    assert found == [{1}, {2}, {3}]


def test_freezing_layers_does_not_change_the_depths_of_the_others() -> None:
    model = make_model("bert")
    whole = parameter_depths(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layer.0" not in name and "layer.2" not in name)
    assert parameter_depths(model) == whole


def test_a_model_without_layers_has_no_rate_for_its_head() -> None:
    model = torch.nn.ModuleDict({"classifier": torch.nn.Linear(2, 2)})
    with pytest.raises(ConfigError, match="not in numbered layers"):
        parameter_groups(model, **COMMON, head_lr=0.9)


def test_a_wholly_frozen_model_is_refused() -> None:
    model = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="no trainable parameter"):
        parameter_groups(model, **COMMON)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_shipped_optimizer_lowers_a_loss_and_names_its_parameters(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    options = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    assert options.pop("_target_") == f"runwright.optimizer.{name}"
    optimizer = getattr(optimizers, name)(model, **options | {"lr": 0.01})
    inputs = torch.randn(8, 4)
    losses = []
    for _ in range(5):
        loss = model(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert [group["param_names"] for group in optimizer.state_dict()["param_groups"]] == [
        ["weight"],
        ["bias"],
    ]
    state = optimizer.state_dict()["state"].values()
    assert all(isinstance(v, torch.Tensor) for one in state for v in one.values() if v is not None)


def test_one_step_of_adamw_is_the_formula_with_decay_on_weights_only() -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, 2.0)
    torch.nn.init.constant_(model.bias, 2.0)
    common = {
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-12,
        "fused": False,
        "head_lr": None,
    }
    optimizer = optimizers.adamw(model, lr=0.1, weight_decay=0.5, **common)
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    # The first Adam step is lr * sign(gradient); decay takes lr * 0.5 * weight before it.
    assert model.weight.item() == pytest.approx(2.0 - 0.1 * 0.5 * 2.0 - 0.1)
    assert model.bias.item() == pytest.approx(2.0 - 0.1)


def test_the_head_learns_at_its_own_rate() -> None:
    model = make_model("bert")
    groups = parameter_groups(model, lr=1.0, weight_decay=0.1, head_lr=9.0)
    rates = {name: group["lr"] for group in groups for name, _ in group["params"]}
    assert rates["classifier.weight"] == rates["bert.pooler.dense.bias"] == 9.0
    below = {rate for name, rate in rates.items() if not name.startswith(("classifier", "bert.pooler"))}
    assert below == {1.0}
    assert len(rates) == len(list(model.parameters()))
