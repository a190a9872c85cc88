"""Parameters of a transformer: their depth, which of them are frozen, how many there are, and positions."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from runwright.types import Head

# Layer lists as transformers' architectures name them; the outermost in a parameter's name counts.
_LAYER = re.compile(
    r"(?:^|\.)(?:layers?|h|blocks?|albert_layer_groups|encoder_layers|decoder_layers)\.(\d+)(?=\.)"
)
_FIRST_LAYERS = re.compile(r"layers:(\d+)")
_POSITION_TABLES = ("position_embeddings", "wpe")  # as BERT's and GPT-2's kin name them


def parameter_depths(model: nn.Module) -> tuple[dict[str, int], int]:
    """The depth of every parameter by name: 0 for embeddings, 1 to N for layers, N + 1 above them; and N.

    It is read from the names `…layer.3.…` and from the order of definition; of frozen parameters too.

    A decoder's layers lie above its encoder's. What belongs to no layer is an embedding where it is defined
    before the first layer or inside an nn.Embedding (relative positions), else it lies above all layers:
    final norm, pooler, head. With no layers at all, everything has depth 0 or 1.
    """
    from torch import nn

    names = [name for name, _ in model.named_parameters()]
    layers = {name: match for name in names if (match := _LAYER.search(name))}
    sizes: dict[str, int] = {}  # number of layers by the prefix of their list
    for name, match in layers.items():
        prefix = name[: match.start(1)]
        sizes[prefix] = max(sizes.get(prefix, 0), int(match.group(1)) + 1)
    below = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
    top = sum(sizes.values()) + 1
    embeddings = {name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    by_name, layers_begun = {}, not layers
    for name in names:
        if match := layers.get(name):
            layers_begun = True
            by_name[name] = below[name[: match.start(1)]] + int(match.group(1)) + 1
        else:
            is_embedding = name.rpartition(".")[0] in embeddings or not layers_begun
            by_name[name] = 0 if is_embedding else top
    return by_name, top - 1


def encoder_prefix(model: Any) -> str:
    """The prefix of the encoder's parameters; empty where a model has no head and is all encoder."""
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def freeze_parts(model: Any, parts: list[str], *, new: Collection[str]) -> list[str]:
    """Take the gradient from parts of a model and return the names of the frozen parameters.

    A part is "embeddings", "encoder" (all but the head), "layers:4" (the lowest four layers) or a pattern
    (`*`, `?`) on full names. Only a pattern freezes `new` parameters, which no checkpoint has filled.
    """
    keys = [key for key, _ in model.named_parameters()]
    filled = [key for key in keys if key.startswith(encoder_prefix(model)) and key not in new]
    depths, num_layers = parameter_depths(model)
    frozen: dict[str, None] = {}
    for name in parts:
        lowest = range(0)  # depths
        if name == "embeddings":
            lowest = range(1)
        elif name == "encoder":
            lowest = range(num_layers + 2)
        elif layers := _FIRST_LAYERS.fullmatch(name):
            lowest = range(1, int(layers.group(1)) + 1)
            if not 1 <= len(lowest) <= num_layers:
                raise ConfigError(f"model.freeze: {name!r}, but the model has {num_layers} layers")
        matches = [key for key in filled if depths[key] in lowest]
        if not lowest:
            matches = [key for key in keys if fnmatchcase(key, name)]
        if not matches:
            choices = [*keys, "embeddings", "encoder", "layers:1"]
            raise ConfigError(
                f"model.freeze: {name!r} is no part of {type(model).__name__}, expected embeddings, encoder, "
                f"layers:N or a pattern that matches parameters; {did_you_mean(name, choices)}".rstrip("; ")
            )
        frozen |= dict.fromkeys(matches)
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)  # noqa: FBT003 - torch's own signature
    return list(frozen)


def parameter_counts(model: nn.Module) -> str:
    """Numbers of scalars for the log, all and trainable ones; tied weights count once."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return f"{total:,} parameters, {trainable:,} of them trainable"


def count_but_embeddings(model: nn.Module) -> int:
    """Number of scalars in all parameters but those that are looked up: N of the 6 N operations for a token.

    As transformers' `num_parameters(exclude_embeddings=True)`: without a head that is tied to embeddings.
    """
    from torch import nn

    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in looked_up)


def without_adapters(model: Any) -> Any:
    """The transformers model inside the adapters of PEFT, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def max_positions(model: Any) -> int | None:
    """The most tokens that a table of positions, or rotary positions, are made for; None where any number is.

    Where the table has a padding row (RoBERTa and its kin), counting starts after it.
    """
    if hasattr(model, "num_positions"):  # an export, which has no such table
        return model.num_positions
    for name, module in model.named_modules():
        size = getattr(module, "num_embeddings", None)
        if size is not None and name.endswith(_POSITION_TABLES):
            padding = getattr(module, "padding_idx", None)
            return size if padding is None else size - padding - 1
        if size is not None and name.endswith("embed_positions"):  # BART's kin: its first rows are not used
            return getattr(model.config, "max_position_embeddings", size)  # LED has one for each side
        if name.endswith("rotary_emb"):  # further ones can be computed, and no weight has seen them
            return getattr(model.config, "max_position_embeddings", None)
    return None


def check_positions(model: Any, head: Head) -> None:
    """Raise ConfigError where the last tokens of the longest text, or target, would find no position."""
    sides = [(model, "max_length", head.max_length)]
    if head.max_target_length and model.config.is_encoder_decoder:
        decoder = (model.get_decoder(), "max_target_length", head.max_target_length)
        sides = [(model.get_encoder(), "max_length", head.max_length), decoder]
    for side, option, length in sides:
        if (limit := max_positions(side)) is not None and length > limit:
            raise ConfigError(
                f"task.{option}: given {length}, but {type(model).__name__} has positions for {limit} "
                f"tokens; set task.{option}={limit} or less"
            )


def check_types(model: Any, num_types: int) -> None:
    """Raise ConfigError where a model has no vector for a kind of token that the tokenizer tells apart."""
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings") and module.num_embeddings < num_types:
            raise ConfigError(
                f"tokenizer: it tells {num_types} types of tokens apart in pairs, and {type(model).__name__} "
                f"has {module.num_embeddings}; take the tokenizer that belongs to the model"
            )
