"""Optimizers over one way of grouping parameters: no decay on biases and norms, a rate for the head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError
from runwright.model.parameters import parameter_depths
from runwright.types import NonNegativeFloat, OpenFraction, PositiveFloat

if TYPE_CHECKING:
    from torch import nn, optim


def adamw(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat,
    beta1: OpenFraction,
    beta2: OpenFraction,
    eps: PositiveFloat,
    fused: bool,
    head_lr: PositiveFloat | None,
) -> optim.Optimizer:
    """AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""
    from torch import optim

    groups = parameter_groups(model, lr, weight_decay, head_lr)
    return optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=fused)


def sgd(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat,
    momentum: OpenFraction,
    nesterov: bool,
    fused: bool,
    head_lr: PositiveFloat | None,
) -> optim.Optimizer:
    """Stochastic gradient descent; weight decay is added to the gradient."""
    from torch import optim

    groups = parameter_groups(model, lr, weight_decay, head_lr)
    return optim.SGD(
        groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=fused
    )


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, head_lr: float | None = None
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group, in an order that depends on the model alone.

    Biases and weights of norms get no weight decay. With `head_lr` what lies above the layers, pooler and
    head, learns at that rate. A group has `name` (`head.no_decay`) and torch's `param_names`; none is empty.
    """
    if not (trainable := [(name, p) for name, p in model.named_parameters() if p.requires_grad]):
        raise ConfigError("the model has no trainable parameter: model.freeze covers all of it")
    # The norms of torch, and those that architectures write themselves, such as T5LayerNorm.
    norms = [module for module in model.modules() if "norm" in type(module).__name__.lower()]
    scales = {id(p) for norm in norms if not any(norm.children()) for p in norm.parameters()}
    depths, num_layers = parameter_depths(model)
    if head_lr is not None and not num_layers:
        raise ConfigError(
            f"optimizer.head_lr: the parameters of {type(model).__name__} are not in numbered layers; set it "
            "to null"
        )
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        is_head = head_lr is not None and depths[name] > num_layers
        prefix = "" if head_lr is None else "head." if is_head else "body."
        decays = name.rpartition(".")[2] != "bias" and id(parameter) not in scales
        group = {
            "params": [],
            "lr": head_lr if is_head else lr,
            "weight_decay": weight_decay if decays else 0.0,
            "name": prefix + ("decay" if decays else "no_decay"),
        }
        groups.setdefault((is_head, not decays), group)["params"].append((name, parameter))
    return [groups[key] for key in sorted(groups)]
