"""The first bias of a new output layer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runwright.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Container

    from torch import nn

    from runwright.types import Head

log = logging.getLogger("runwright.model")


def set_initial_bias(model: nn.Module, head: Head, *, new: Container[str] | None) -> None:
    """Fill the bias of the output layer with what the task asks for, where the layer is new.

    `new` names the parameters that no checkpoint has filled; None: all. Raises ConfigError where the
    architecture has no such bias.
    """
    if not head.initial_bias:
        return
    import torch

    encoder = f"{getattr(model, 'base_model_prefix', '')}."
    biases = {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.endswith("bias")
        and parameter.shape == (len(head.initial_bias),)
        and not name.startswith(encoder)
    }
    if not biases:
        raise ConfigError(
            f"task.bias_from_labels: given true, but the output layer of {type(model).__name__} has no bias"
        )
    name, bias = list(biases.items())[-1]  # the layer nearest to the output
    if new is not None and name not in new:
        return  # it was trained already
    with torch.no_grad():
        bias.copy_(torch.tensor(head.initial_bias))
    log.info("%s starts from the labels of the training split", name)
