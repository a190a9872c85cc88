"""An optimizer's state by parameter name: independent of the order of parameters, loadable without pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from runwright.errors import CheckpointError


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


SEPARATOR = "|"  # in no parameter name: torch allows letters, digits, "." and "_"


def read_optimizer(
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module,
    gather: Callable[[torch.Tensor], torch.Tensor] = copy_to_cpu,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors as `parameter|key`, as `gather` copies them, and the rest (plain values, groups) for JSON."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, Any] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            place = f"{names[id(parameter)]}{SEPARATOR}{key}"
            if isinstance(value, torch.Tensor):
                tensors[place] = gather(value)
            else:
                values[place] = value
    groups = [
        {"parameters": [names[id(p)] for p in group["params"]], "options": _options(group)}
        for group in optimizer.param_groups
    ]
    return tensors, {"values": values, "groups": groups}


def write_optimizer(
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module,
    *,
    tensors: Mapping[str, torch.Tensor],
    rest: Mapping[str, Any],
) -> None:
    """Put a state that `read_optimizer` gave into an optimizer over the same parameters.

    Raises CheckpointError where the parameters are not the same.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ours = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    theirs = [group["parameters"] for group in rest["groups"]]
    if ours != theirs:
        changed = {n for g in ours for n in g} ^ {n for g in theirs for n in g}
        raise CheckpointError(
            "the optimizer trains other parameters, or in other groups, than the checkpoint's"
            + (f": {', '.join(sorted(changed)[:5])}" if changed else "")
        )
    index = {name: place for place, name in enumerate(name for group in ours for name in group)}
    state: dict[int, dict[str, Any]] = {}
    for place, value in {**tensors, **rest["values"]}.items():
        name, key = place.split(SEPARATOR)
        state.setdefault(index[name], {})[key] = value
    current = optimizer.state_dict()["param_groups"]
    groups = [
        {**group, **{k: v for k, v in saved["options"].items() if k in group}}
        for group, saved in zip(current, rest["groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    plain = (bool, int, float, str, type(None), list, tuple)
    return {
        key: value
        for key, value in group.items()
        if key not in ("params", "param_names") and isinstance(value, plain)
    }
