"""Low-rank adapters through peft (the extra `lora`), imported only where they are asked for."""

from __future__ import annotations

import copy
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError
from runwright.model.parameters import encoder_prefix
from runwright.types import OpenFraction, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    """Options of the adapters (Hu et al. 2022)."""

    rank: PositiveInt
    alpha: PositiveFloat
    dropout: OpenFraction
    target_modules: list[str] | Literal["all-linear"] | None


def add_adapters(model: PreTrainedModel, lora: Lora, *, new: set[str]) -> nn.Module:
    """The model with adapters: they, the head and what no checkpoint has filled are all that is trained."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError("model.lora needs peft: pip install 'runwright[lora]'") from error
    # Modules that get their own trained copy: those outside the encoder, and new ones inside it. Not a head
    # with a score for each token, as decoders have it, unless it is new: adapters lead to it.
    inside, scores = encoder_prefix(model), model.get_output_embeddings()
    names = [name for name, _ in model.named_parameters()]
    heads = [name.partition(".")[0] for name in names if not name.startswith(inside)]
    heads = [name for name in heads if getattr(model, name) is not scores or f"{name}.weight" in new]
    fresh = [name.rpartition(".")[0] for name in names if name in new and name.startswith(inside)]
    whole = list(dict.fromkeys([*heads, *fresh]))
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type] - peft only divides by it
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        exclude_modules="|".join(rf"{re.escape(name)}(\..*)?" for name in whole) or None,
        modules_to_save=whole,
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks the model by a name that transformers 5.23 is about to drop.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            # It sees for each layer which way its weights lie (GPT-2's are transposed), and says so.
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
            return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(
            f"model.lora.target_modules: no module of {type(model).__name__} to adapt for "
            f"{lora.target_modules!r}; give names of its modules, or all-linear"
        ) from error


def merge_adapter(model: nn.Module) -> Any:
    """A plain copy of the model with its adapters merged into the weights; one without adapters itself."""
    if not hasattr(model, "merge_and_unload"):
        return model
    return copy.deepcopy(model).merge_and_unload()  # type: ignore[operator]
