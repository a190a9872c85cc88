"""A model's weights as plain tensors by name, in which tied ones stay tied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def without_tied(weights: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each storage once, and which names share it: `{alias: name}`."""
    kept: dict[str, torch.Tensor] = {}
    owners: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in weights.items():
        key = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
        if tensor.numel() and key in owners:
            aliases[name] = owners[key]
        else:
            owners[key] = name
            kept[name] = tensor.contiguous()
    return kept, aliases


def copy_to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that nothing changes any more."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def copy_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's state on the CPU, copied; tied tensors stay tied."""
    copies: dict[tuple[Any, ...], torch.Tensor] = {}
    result: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
        if key not in copies:
            copies[key] = tensor.detach().to("cpu", copy=True)
        result[name] = copies[key]
    return result
