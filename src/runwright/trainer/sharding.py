"""How a model is spread over the processes of a run: here, a whole copy of it in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Protocol

import torch

from runwright.trainer.optimizer_state import copy_to_cpu, copy_weights
from runwright.trainer.ranks import Ranks, sum_gradients


def use_sparse_gradients(model: torch.nn.Module) -> None:
    """Let the embeddings of a model on the CPU give their gradients as rows; `densify` must follow.

    Tables that are shared with another module stay dense, and so do models on a GPU, where the dense
    backward is fast.
    """
    names: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            names[id(parameter)] = names.get(id(parameter), 0) + 1
    for module in model.modules():
        if type(module) is torch.nn.Embedding and module.weight.device.type == "cpu":
            plain = module.max_norm is None and not module.scale_grad_by_freq
            module.sparse = plain and names[id(module.weight)] == 1


def use_dense_gradients(model: torch.nn.Module) -> None:
    """Let all embeddings give their gradients as whole tables."""
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.sparse = False


def densify(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Turn gradients of rows into gradients of the whole table, in place."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()


class Strategy(Protocol):
    """What depends on where the weights are. Every rank calls the same methods in the same order."""

    name: ClassVar[str]  # what `launch.strategy` calls it
    runs_together: ClassVar[bool]  # whether all ranks must make the same number of forwards
    is_whole: ClassVar[bool]  # whether each rank has all weights, so that one can save without the others

    def prepare(self, model: torch.nn.Module) -> None:
        """Spread the model, in place; comes before the optimizer is made."""
        ...

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter], ranks: Ranks) -> None:
        """Make each gradient, or the part of it that is here, the sum over all ranks."""
        ...

    def clip(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> float:
        """Scale the whole gradient to a norm of at most `limit`; returns its norm before."""
        ...

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy on the CPU of a whole tensor, on the first rank; what others get is not to be used."""
        ...

    def weights(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """The same of the model's state by name; tied tensors stay tied."""
        ...

    def load(self, model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Put whole tensors into the model."""
        ...

    def spread_state(
        self, model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """An optimizer's whole tensors, by `parameter|key`, in the form that its parameters have."""
        ...

    def whole(self, model: torch.nn.Module) -> AbstractContextManager[Any]:
        """While it lasts, ranks may run as many forwards without gradients as each likes."""
        ...

    def release(self, model: torch.nn.Module, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
        """A plain whole model with the weights that were trained; `make` makes one with any weights."""
        ...


class Replicated(Strategy):
    """Each rank holds the whole model; the step sums the gradients."""

    name: ClassVar[str] = "replicated"
    runs_together: ClassVar[bool] = False
    is_whole: ClassVar[bool] = True

    def prepare(self, model: torch.nn.Module) -> None:
        """Let embeddings give their gradients as rows."""
        use_sparse_gradients(model)

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter], ranks: Ranks) -> None:
        """Fill the rows in and sum over ranks."""
        densify(parameters)
        sum_gradients(parameters, ranks)

    def clip(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> float:
        """By torch's own function."""
        return torch.nn.utils.clip_grad_norm_(parameters, limit).item()

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy."""
        return copy_to_cpu(tensor)

    def weights(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Copies."""
        return copy_weights(model)

    def load(self, model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """As they are."""
        model.load_state_dict(dict(weights))

    def spread_state(
        self,
        model: torch.nn.Module,  # noqa: ARG002 - another strategy's
        tensors: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """As they are."""
        return dict(tensors)

    def whole(self, model: torch.nn.Module) -> AbstractContextManager[Any]:  # noqa: ARG002
        """It always is."""
        return nullcontext()

    def release(
        self,
        model: torch.nn.Module,
        make: Callable[[], torch.nn.Module],  # noqa: ARG002 - another strategy's
    ) -> torch.nn.Module:
        """The model itself."""
        return model


def scale_of(norm: float, limit: float) -> float:
    """What a gradient of this norm is multiplied by to be clipped, as torch.nn.utils does it."""
    scale = limit / (norm + 1e-6)
    return 1.0 if scale > 1.0 else scale  # NaN stays NaN
