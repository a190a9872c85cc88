"""Switching off what is random in a model while it trains."""

from __future__ import annotations

import torch


def switch_off_dropout(model: torch.nn.Module) -> None:
    """No dropout from now on, in modules and in calls of functions that read a module's probability.

    A model may still draw random numbers in other ways.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):  # attention_dropout, hidden_dropout_prob, …
                setattr(module, name, 0.0)


def batch_statistics(model: torch.nn.Module) -> list[str]:
    """Modules that look at all examples of a microbatch together, `name: Class`."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    found = {name: each for name, each in model.named_modules() if isinstance(each, kind)}
    return [f"{name}: {type(each).__name__}" for name, each in found.items()]
