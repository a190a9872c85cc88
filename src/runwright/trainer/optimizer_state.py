"""An optimizer's state by parameter name: independent of the order of parameters, loadable without pickle.

Not by torch.distributed.checkpoint.state_dict (2.13): it makes an optimizer without state take a step to get
some, and refuses a state that lacks parameters which never had a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from runwright.errors import CheckpointError
from runwright.trainer.sharding import copy_whole, spread_like

SEPARATOR = "|"  # in no parameter name: torch allows letters, digits, "." and "_"
PLAIN = (bool, int, float, str, type(None), list, tuple)


def read_optimizer(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, *, wanted: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Whole tensors as `parameter|key`, copied where `wanted`, and the rest (values, groups) for JSON."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, Any] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            name = f"{names[id(parameter)]}{SEPARATOR}{key}"
            if isinstance(value, torch.Tensor):
                tensors[name] = copy_whole(value, wanted=wanted)
            else:
                values[name] = value
    groups = [
        {
            "parameters": [names[id(p)] for p in group["params"]],
            "options": {
                key: value
                for key, value in group.items()
                if key not in ("params", "param_names") and isinstance(value, PLAIN)
            },
        }
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
    """Put a state from `read_optimizer` into an optimizer over the same parameters, sharded as they are.

    Raises CheckpointError where the parameters are not the same.
    """
    parameters = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in parameters.items()}
    ours = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    theirs = [group["parameters"] for group in rest["groups"]]
    if ours != theirs:
        changed = {n for g in ours for n in g} ^ {n for g in theirs for n in g}
        raise CheckpointError(
            "the optimizer trains other parameters, or in other groups, than the checkpoint's"
            + (f": {', '.join(sorted(changed)[:5])}" if changed else "")
        )
    index = {name: number for number, name in enumerate(name for group in ours for name in group)}
    state: dict[int, dict[str, Any]] = {}
    for both, value in {**tensors, **rest["values"]}.items():
        name, key = both.split(SEPARATOR)
        if isinstance(value, torch.Tensor) and value.shape == parameters[name].shape:
            value = spread_like(value, parameters[name])  # others, such as counts, are whole on every rank
        state.setdefault(index[name], {})[key] = value
    current = optimizer.state_dict()["param_groups"]
    groups = [
        {**group, **{k: v for k, v in saved["options"].items() if k in group}}
        for group, saved in zip(current, rest["groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
