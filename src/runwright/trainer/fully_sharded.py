"""A model of which each process holds a part: weights, gradients, optimizer state; torch's `fully_shard`.

Weights are gathered layer by layer for each forward and backward, by all ranks at once: each of them runs the
same number of microbatches. Read in torch 2.13 (torch/distributed/fsdp/_fully_shard): gradients are averaged
over ranks unless a divide factor is set, and only 32- and 16-bit ones without a divide of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from runwright.errors import ConfigError
from runwright.trainer.optimizer_state import SEPARATOR
from runwright.trainer.ranks import Ranks
from runwright.trainer.sharding import scale_of, use_dense_gradients


@dataclass(frozen=True, kw_only=True, slots=True)
class FullySharded:
    """Each rank holds a part of every parameter: its rows, in even shares."""

    ranks: Ranks
    name: ClassVar[str] = "fsdp"
    runs_together: ClassVar[bool] = True
    is_whole: ClassVar[bool] = False

    def prepare(self, model: torch.nn.Module) -> None:
        """Shard each layer, and what is in none of them as one more. Raises ConfigError where that fails."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        scalars = [name for name, parameter in model.named_parameters() if parameter.ndim == 0]
        if scalars:
            raise ConfigError(
                f"launch.strategy: fsdp shards by rows, and {scalars[0]} of the model has no dimension; use "
                "replicated, or make it a parameter of shape [1]"
            )
        use_dense_gradients(model)  # torch cannot scatter rows that only some ranks have
        mesh = init_device_mesh(self.ranks.device.type, (self.ranks.num_ranks,))
        for layer in layers_of(model):
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        fully_shard(model, mesh=mesh, reshard_after_forward=False)
        for module in _sharded_modules(model):
            # Sums: each loss is already divided by the count over all ranks. A factor alone would become
            # NCCL's PREMUL_SUM, which gloo lacks.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(enable=True)

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter], ranks: Ranks) -> None:
        """Nothing is left to do: the backward summed them."""

    def clip(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> float:
        """By the norm over all parts of all ranks, the same bits on each."""
        parts = [_local(parameter.grad) for parameter in parameters if parameter.grad is not None]
        squares = [torch.linalg.vector_norm(part, dtype=torch.float64).square() for part in parts]
        square = torch.stack(squares).sum().item() if squares else 0.0
        norm = self.ranks.total(square) ** 0.5
        scale = scale_of(norm, limit)
        if scale != 1.0:
            for part in parts:
                part.mul_(scale)
        return norm

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """All ranks give their parts; only the first one keeps the whole."""
        return self._gather(tensor, everywhere=False)

    def weights(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """One parameter after the other."""
        return self._weights(model, everywhere=False)

    def load(self, model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Each rank takes its part; all have read the same."""
        own = model.state_dict(keep_vars=True)
        model.load_state_dict({name: self._spread(tensor, own.get(name)) for name, tensor in weights.items()})

    def spread_state(
        self, model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Tensors of the shape of their parameter are shared like it; others, such as counts, are whole."""
        parameters = dict(model.named_parameters())
        spread: dict[str, torch.Tensor] = {}
        for place, tensor in tensors.items():
            parameter = parameters.get(place.split(SEPARATOR)[0])
            same = parameter is not None and parameter.shape == tensor.shape
            spread[place] = self._spread(tensor, parameter) if same else tensor
        return spread

    @contextmanager
    def whole(self, model: torch.nn.Module) -> Iterator[None]:
        """Gather all weights once, and keep them until the end."""
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

    def release(self, model: torch.nn.Module, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
        """Another model, with the weights of this one."""
        weights = self._weights(model, everywhere=True)
        made = make()
        made.load_state_dict(weights)
        return made

    def _weights(self, model: torch.nn.Module, *, everywhere: bool) -> dict[str, torch.Tensor]:
        copies: dict[int, torch.Tensor] = {}
        found: dict[str, torch.Tensor] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            if id(tensor) not in copies:
                copies[id(tensor)] = self._gather(tensor, everywhere=everywhere)
            found[name] = copies[id(tensor)]
        return found

    def _gather(self, tensor: torch.Tensor, *, everywhere: bool) -> torch.Tensor:
        from torch.distributed.tensor import DTensor

        tensor = tensor.detach()
        if isinstance(tensor, DTensor):
            tensor = tensor.full_tensor()
        if everywhere or self.ranks.is_first:
            return tensor.to("cpu", copy=True).contiguous()
        return tensor.new_empty(0)

    def _spread(self, tensor: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return tensor
        whole = tensor.to(self.ranks.device)
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The blocks of a model: what is in the outermost lists of modules, in their order.

    A block that shares a parameter with anything outside stays with the rest of the model.
    """
    found: list[torch.nn.Module] = []

    def visit(module: torch.nn.Module) -> None:
        for child in module.children():
            if isinstance(module, torch.nn.ModuleList) and not isinstance(child, torch.nn.ModuleList):
                found.append(child)
            else:
                visit(child)

    visit(model)
    everywhere = _uses(model)
    alone = [layer for layer in found if all(everywhere[key] == n for key, n in _uses(layer).items())]
    return [layer for layer in dict.fromkeys(alone) if next(layer.parameters(), None) is not None]


def _uses(model: torch.nn.Module) -> Counter[int]:
    """How many modules have each parameter."""
    return Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))


def _sharded_modules(model: torch.nn.Module) -> list[Any]:
    from torch.distributed.fsdp import FSDPModule

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _local(tensor: Any) -> torch.Tensor:
    """The part of a tensor that is here."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
