"""Optimizers over one way of grouping parameters: no decay on biases and norms, smaller steps below."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from runwright.errors import ConfigError, did_you_mean
from runwright.model.parameters import parameter_depths
from runwright.types import NonNegativeFloat, OpenFraction, PositiveFloat, Range

if TYPE_CHECKING:
    from torch import nn, optim

LayerDecay = Annotated[float, Range(gt=0, le=1)]


def adamw(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat,
    beta1: OpenFraction,
    beta2: OpenFraction,
    eps: PositiveFloat,
    fused: bool,
    layer_decay: LayerDecay | None,
    head_lr: PositiveFloat | None,
    no_decay: list[str],
) -> optim.Optimizer:
    """AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""
    from torch import optim

    groups = parameter_groups(model, lr, weight_decay, no_decay, layer_decay, head_lr)
    return optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=fused)


def sgd(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat,
    momentum: OpenFraction,
    nesterov: bool,
    fused: bool,
    layer_decay: LayerDecay | None,
    head_lr: PositiveFloat | None,
    no_decay: list[str],
) -> optim.Optimizer:
    """Stochastic gradient descent; weight decay is added to the gradient."""
    from torch import optim

    groups = parameter_groups(model, lr, weight_decay, no_decay, layer_decay, head_lr)
    return optim.SGD(
        groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=fused
    )


def adafactor(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat,
    beta2_decay: Annotated[float, Range(le=0)],
    eps1: PositiveFloat | None,
    eps2: PositiveFloat,
    clip_threshold: Annotated[float, Range(ge=1)],
    layer_decay: LayerDecay | None,
    head_lr: PositiveFloat | None,
    no_decay: list[str],
) -> optim.Optimizer:
    """Adafactor with a given learning rate (Shazeer and Stern 2018), torch's implementation.

    torch's, not transformers': its state is tensors only, so that it can be stored by name without executing
    anything on load. Steps are scaled by the parameter's root mean square, and capped at lr / sqrt(step).
    """
    from torch import optim

    groups = parameter_groups(model, lr, weight_decay, no_decay, layer_decay, head_lr)
    eps = (eps1, eps2)
    return optim.Adafactor(
        groups, lr=lr, beta2_decay=beta2_decay, eps=eps, d=clip_threshold, weight_decay=weight_decay
    )


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    no_decay: list[str],
    layer_decay: float | None,
    head_lr: float | None = None,
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group, in an order that depends on the model alone.

    Biases, weights of norms and what matches a pattern of `no_decay` (`*` and `?`, on the full name) get no
    weight decay. With `layer_decay` a parameter k levels below the head gets lr * layer_decay ** k. With
    `head_lr` what lies above the layers, pooler and head, learns at that rate. Each group has `name` (such
    as `depth_3.no_decay`) and, through torch, `param_names`; none is empty.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trainable:
        raise ConfigError("the model has no trainable parameter: model.freeze covers all of it")
    undecayed = _undecayed_names(model, no_decay)
    depths, num_layers = parameter_depths(model)
    for option, value in (("layer_decay", layer_decay), ("head_lr", head_lr)):
        if value is not None and not num_layers:
            raise ConfigError(
                f"optimizer.{option}: the parameters of {type(model).__name__} are not in numbered layers; "
                "set it to null"
            )
    top = num_layers + 1
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        depth, rate, prefix = 0, lr, "body." if head_lr is not None else ""
        if layer_decay is not None:
            depth = depths[name]
            rate, prefix = lr * layer_decay ** (top - depth), f"depth_{depth}."
        if head_lr is not None and depths[name] == top:
            depth, rate, prefix = top, head_lr, "head."
        decays = name not in undecayed
        group = {
            "params": [],
            "lr": rate,
            "weight_decay": weight_decay if decays else 0.0,
            "name": prefix + ("decay" if decays else "no_decay"),
        }
        groups.setdefault((depth, not decays), group)["params"].append((name, parameter))
    return [groups[key] for key in sorted(groups)]


def _undecayed_names(model: nn.Module, patterns: list[str]) -> set[str]:
    names = [name for name, _ in model.named_parameters()]
    undecayed = {name for name in names if name == "bias" or name.endswith(".bias")}
    for prefix, module in model.named_modules():
        # The norms of torch, and those that architectures write themselves, such as T5LayerNorm.
        if "norm" in type(module).__name__.lower() and not any(module.children()):
            inner = [name for name, _ in module.named_parameters(recurse=False)]
            undecayed.update(f"{prefix}.{name}" if prefix else name for name in inner)
    for pattern in patterns:
        matching = {name for name in names if fnmatchcase(name, pattern)}
        if not matching:
            hint = did_you_mean(pattern, names)
            raise ConfigError(
                f"optimizer.no_decay: pattern {pattern!r} matches no parameter; {hint}".rstrip("; ")
            )
        undecayed |= matching
    return undecayed
