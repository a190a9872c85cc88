"""Which parameters stay as they are."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from runwright.errors import ConfigError, did_you_mean
from runwright.model.depth import parameter_depths

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LAYERS = re.compile(r"layers:(\d+)")


def freeze_parts(model: PreTrainedModel, parts: list[str], *, new: Collection[str]) -> list[str]:
    """Take the gradient from parts of a model and return the names of the frozen parameters.

    A part is "embeddings", "encoder" (all but the head), "layers:4" (the lowest four layers) or a pattern
    (`*`, `?`) on full names. Only a pattern freezes `new` parameters, which no checkpoint has filled.
    """
    frozen: list[str] = []
    for part in parts:
        names = _names_of(model, part, new)
        if not names:
            choices = [*(name for name, _ in model.named_parameters()), "embeddings", "encoder", "layers:1"]
            raise ConfigError(
                f"model.freeze: {part!r} is no part of {type(model).__name__}, expected embeddings, encoder, "
                f"layers:N or a pattern that matches parameters; {did_you_mean(part, choices)}".rstrip("; ")
            )
        frozen.extend(name for name in names if name not in frozen)
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)  # noqa: FBT003 - torch's own signature
    return frozen


def _names_of(model: PreTrainedModel, part: str, new: Collection[str]) -> list[str]:
    names = [name for name, _ in model.named_parameters()]
    layers = _LAYERS.fullmatch(part)
    if part not in ("embeddings", "encoder") and not layers:
        return [name for name in names if fnmatchcase(name, part)]
    inside = "" if model.base_model is model else f"{model.base_model_prefix}."
    filled = [name for name in names if name.startswith(inside) and name not in new]
    if part == "encoder":
        return filled
    depths = parameter_depths(model)
    if part == "embeddings":
        return [name for name in filled if depths.by_name[name] == 0]
    num_layers = int(layers.group(1)) if layers else 0
    if not 1 <= num_layers <= depths.num_layers:
        raise ConfigError(f"model.freeze: {part!r}, but the model has {depths.num_layers} layers")
    return [name for name in filled if 1 <= depths.by_name[name] <= num_layers]
