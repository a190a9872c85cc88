"""A transformer that starts from random weights."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError, did_you_mean
from runwright.model.configuration import (
    auto_class,
    check_padding,
    head_options,
    quiet_transformers,
    set_dropout,
    set_initial_bias,
    special_token_ids,
    torch_dtype,
)
from runwright.types import Head, OpenFraction

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

log = logging.getLogger("runwright.model")

_FROM_TASK = ("num_labels", "id2label", "label2id", "problem_type")


def build(
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    *,
    architecture: str,
    config: dict[str, Any],
    dtype: Literal["float32", "bfloat16", "float16", "float64"],
    dropout: OpenFraction | None,
    attention: Literal["sdpa", "eager", "flex_attention", "flash_attention_2"],
) -> nn.Module:
    """A model of any architecture that transformers has; `config` holds what differs from its defaults.

    Vocabulary and special tokens come from the tokenizer. Weights are drawn from torch's global generator.
    """
    known = _known_options(architecture)
    for key in config:
        owner = _owner(key)
        if owner:
            raise ConfigError(f"model.config.{key}: this follows from the {owner}; leave it out")
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"model.config.{key}: {architecture!r} has no such option; {hint}".rstrip("; "))
    try:
        filled = _fill_config(architecture, config, head, tokenizer)
        set_dropout(filled, dropout)
        with quiet_transformers():
            model = auto_class(head).from_config(
                filled, dtype=torch_dtype(dtype), attn_implementation=attention, trust_remote_code=False
            )
    except (TypeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split()).partition(" Model type should be one of")[0]
        raise ConfigError(f"model: cannot build {architecture!r}: {reason}") from error
    check_padding(model)
    set_initial_bias(model, head, new=None)
    log.info("new: all weights of %s", type(model).__name__)
    return model


def _owner(key: str) -> str | None:
    """Which part decides this option of a configuration, if it is not the user."""
    if key == "vocab_size" or key.endswith("_token_id"):
        return "tokenizer"
    return "task" if key in _FROM_TASK else None


def _known_options(architecture: str) -> list[str]:
    from transformers import CONFIG_MAPPING

    if architecture not in CONFIG_MAPPING:
        hint = did_you_mean(architecture, CONFIG_MAPPING)
        raise ConfigError(f"model.architecture: transformers has no {architecture!r}; {hint}".rstrip("; "))
    defaults = CONFIG_MAPPING[architecture]()
    return [*defaults.to_dict(), *defaults.attribute_map]


def _fill_config(
    architecture: str, options: dict[str, Any], head: Head, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedConfig:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[architecture]
    special = special_token_ids(config_class(), tokenizer)
    options = {**options, **special, **head_options(head), "vocab_size": len(tokenizer)}
    try:
        return config_class(**options)
    except StrictDataclassError as error:
        raise ConfigError(f"model.config: {' '.join(str(error).split())}") from error
