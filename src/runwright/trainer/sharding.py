"""Models of which each rank holds its rows of every weight, and whole copies of them (torch's `fully_shard`).

Every function takes replicated models and plain tensors too, and does nothing or little to them. Weights are
gathered layer by layer for each forward and backward, by all ranks at once: each of them runs the same number
of microbatches, and calls these functions in the same order.

An optimizer's state goes by parameter name: independent of the order of parameters, loadable without pickle.
Not by torch.distributed.checkpoint.state_dict (2.13): it makes an optimizer without state take a step to get
some, and refuses a state that lacks parameters which never had a gradient.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from runwright.errors import CheckpointError, ConfigError
from runwright.trainer.ranks import Ranks


def spread(model: torch.nn.Module, ranks: Ranks) -> None:
    """Shard the model in place where `ranks` say so; comes before the optimizer is made.

    Each layer is sharded, and what is in none of them as one more. Raises ConfigError where that fails.
    """
    use_sparse_gradients(model, wanted=not ranks.sharded)
    if not ranks.sharded:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if scalar := next((name for name, parameter in model.named_parameters() if not parameter.ndim), None):
        raise ConfigError(
            f"launch.strategy: fsdp shards by rows, and {scalar} of the model has no dimension; use "
            "replicated, or make it a parameter of shape [1]"
        )
    mesh = init_device_mesh(ranks.device.type, (ranks.num_ranks,))
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    for module in _sharded_modules(model):
        # Sums: each loss is already divided by the count over all ranks. A factor alone would become NCCL's
        # PREMUL_SUM, which gloo lacks (read in torch 2.13, torch/distributed/fsdp/_fully_shard).
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(enable=True)


def use_sparse_gradients(model: torch.nn.Module, *, wanted: bool = True) -> None:
    """Let embeddings on the CPU give their gradients as rows, which `sum_gradients` turns into tables.

    Tables that are shared with another module stay dense, and so do models on a GPU, where the dense backward
    is fast, and sharded ones: torch cannot scatter rows that only some ranks have.
    """
    uses = _uses(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            plain = type(module) is torch.nn.Embedding and module.weight.device.type == "cpu"
            plain = plain and module.max_norm is None and not module.scale_grad_by_freq
            module.sparse = wanted and plain and uses[id(module.weight)] == 1


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The blocks of a model: modules in its outermost lists of modules, in their order.

    A block that shares a parameter with anything outside stays with the rest of the model.
    """

    def blocks(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
        for child in module.children():
            if isinstance(module, torch.nn.ModuleList) and not isinstance(child, torch.nn.ModuleList):
                yield child
            else:
                yield from blocks(child)

    everywhere = _uses(model)
    uses = {layer: _uses(layer) for layer in blocks(model)}
    return [layer for layer, inner in uses.items() if inner and inner.items() <= everywhere.items()]


def copy_whole(tensor: torch.Tensor, *, wanted: bool = True) -> torch.Tensor:
    """A copy on the CPU of the tensor that all ranks together hold; empty where it is not `wanted`."""
    whole: Any = tensor.detach()
    if hasattr(whole, "full_tensor"):  # a DTensor
        whole = whole.full_tensor()
    return whole.to("cpu", copy=True).contiguous() if wanted else whole.new_empty(0)


def copy_weights(model: torch.nn.Module, *, wanted: bool = True) -> dict[str, torch.Tensor]:
    """Whole copies of the model's state by name, one parameter after the other; tied tensors stay tied."""
    copies: dict[int, torch.Tensor] = {}
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in copies:
            copies[id(tensor)] = copy_whole(tensor, wanted=wanted)
        weights[name] = copies[id(tensor)]
    return weights


def spread_like(whole: torch.Tensor, other: Any) -> torch.Tensor:
    """A whole tensor, which every rank has read, in the form of another one of its shape."""
    if not hasattr(other, "full_tensor"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


@contextmanager
def gathered(model: torch.nn.Module) -> Iterator[None]:
    """Hold all weights on every rank, which may then run as many forwards without gradients as it likes."""
    modules = _sharded_modules(model)
    for module in modules:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in modules:
            module.reshard()
            module.set_reshard_after_forward(module is not model, recurse=False)


def release(model: torch.nn.Module, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A plain whole model with the trained weights, on every rank; `make` makes one with any weights."""
    if not _sharded_modules(model):
        return model
    weights, plain = copy_weights(model), make()
    plain.load_state_dict(weights)
    return plain


def _uses(model: torch.nn.Module) -> Counter[int]:
    """Number of modules that have each parameter, by the parameter's id."""
    return Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))


def _sharded_modules(model: torch.nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "unshard")]


# --- the optimizer's state ----------------------------------------------------------------------------------

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
    groups = []
    for group in optimizer.param_groups:
        plain = {key: value for key, value in group.items() if isinstance(value, PLAIN)}
        options = {key: value for key, value in plain.items() if key not in ("params", "param_names")}
        groups.append({"parameters": [names[id(p)] for p in group["params"]], "options": options})
    return tensors, {"values": values, "groups": groups}


def write_optimizer(
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module,
    *,
    tensors: Mapping[str, torch.Tensor],
    rest: Mapping[str, Any],
) -> None:
    """Put a state of `read_optimizer` into an optimizer; CheckpointError where its parameters are others."""
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
