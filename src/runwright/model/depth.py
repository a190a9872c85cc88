"""How deep each parameter of a transformer lies: 0 for embeddings, 1 to N for layers, N + 1 above them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

# Layer lists as transformers' architectures name them; the outermost in a parameter's name counts.
_LAYER = re.compile(
    r"(?:^|\.)(?:layers?|h|blocks?|albert_layer_groups|encoder_layers|decoder_layers)\.(\d+)(?=\.)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Depths:
    """The depth of every parameter by name, frozen ones too."""

    by_name: dict[str, int]
    num_layers: int


def parameter_depths(model: nn.Module) -> Depths:
    """Depths read from the names `…layer.3.…` and from the order of definition.

    A decoder's layers lie above its encoder's. What belongs to no layer is an embedding where it is defined
    before the first layer or inside an nn.Embedding (relative positions), else it lies above all layers:
    final norm, pooler, head. With no layers at all, everything has depth 0 or 1.
    """
    from torch import nn

    names = [name for name, _ in model.named_parameters()]
    layers = {name: found for name in names if (found := _LAYER.search(name))}
    stacks: dict[str, int] = {}  # prefix of a list of layers -> its length
    for match in layers.values():
        prefix = match.string[: match.start(1)]
        stacks[prefix] = max(stacks.get(prefix, 0), int(match.group(1)) + 1)
    below = dict(zip(stacks, _running_sums(list(stacks.values())), strict=True))
    top = sum(stacks.values()) + 1
    embeddings = {name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    by_name, layers_begun = {}, not layers
    for name in names:
        match = layers.get(name)
        if match:
            layers_begun = True
            by_name[name] = below[match.string[: match.start(1)]] + int(match.group(1)) + 1
        else:
            is_embedding = name.rpartition(".")[0] in embeddings or not layers_begun
            by_name[name] = 0 if is_embedding else top
    return Depths(by_name=by_name, num_layers=top - 1)


def _running_sums(sizes: list[int]) -> list[int]:
    return [sum(sizes[:position]) for position in range(len(sizes))]
