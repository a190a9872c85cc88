"""Embedding gradients that cost what a microbatch touches, not the whole table.

A dense backward of an embedding fills and adds a table of [V, D] for each microbatch: with 30,522 × 384 rows
that is 47 MB each, a tenth of a CPU step. Kept as rows until the step is whole, they are filled in once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


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
