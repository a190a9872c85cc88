"""How large a model is, and what of it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runwright.model.depth import parameter_depths

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterCount:
    """Numbers of scalars; tied weights count once."""

    total: int
    trainable: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """The numbers over the whole model."""
    parameters = list(model.parameters())
    return ParameterCount(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
    )


def parameter_table(model: nn.Module) -> str:
    """Three lines for the log: embeddings, layers and what lies above them, and a sum."""
    depths = parameter_depths(model)
    rows = {"embeddings": [0, 0], f"{depths.num_layers} layers": [0, 0], "head": [0, 0]}
    parts = list(rows.values())
    for name, parameter in model.named_parameters():
        depth = depths.by_name[name]
        part = parts[0] if depth == 0 else parts[2] if depth > depths.num_layers else parts[1]
        part[0] += parameter.numel()
        part[1] += parameter.numel() * parameter.requires_grad
    rows["all"] = [sum(part[0] for part in parts), sum(part[1] for part in parts)]
    lines = [f"{'parameters':<12}{'total':>14}{'trainable':>14}"]
    lines += [f"{label:<12}{total:>14,}{trainable:>14,}" for label, (total, trainable) in rows.items()]
    return "\n".join(lines)


def max_positions(model: nn.Module) -> int | None:
    """The most tokens this model has positions for; None where its architecture sets no limit.

    Where the table of positions has a padding row (RoBERTa and its kin), counting starts after it.
    """
    from torch import nn as modules

    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, modules.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    limit = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None
