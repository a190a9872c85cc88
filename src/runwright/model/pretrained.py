"""A pretrained transformer with the head that a task asks for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runwright.config.permissions import code_allowed
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError
from runwright.model.configuration import (
    Embeddings,
    auto_class,
    check_padding,
    head_options,
    quiet_transformers,
    set_dropout,
    set_initial_bias,
    set_padding,
    torch_dtype,
)
from runwright.model.freeze import freeze_parts
from runwright.model.lora import Lora, add_adapters
from runwright.model.vocabulary import fit_vocabulary, move_positions
from runwright.types import Head, OpenFraction

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

log = logging.getLogger("runwright.model")

_MAX_NAMED = 8  # parameters named in one line of the log


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    model: PreTrainedModel
    new: set[str]  # parameters that no checkpoint has filled
    unused: set[str]  # weights of the checkpoint that this model has no place for


def load(
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    *,
    name: str,
    revision: str | None,
    dtype: Literal["float32", "bfloat16", "float16", "float64"],
    dropout: OpenFraction | None,
    embeddings: Embeddings,
    freeze: list[str],
    attention: Literal["sdpa", "eager", "flex_attention", "flash_attention_2"],
    lora: Any,
) -> nn.Module:
    """A transformers model from a hub name, a folder or a package, its head new where the source has none.

    New weights are drawn from torch's global generator, in the order of the model's modules: seed it right
    before the call. Raises ConfigError where the source lacks weights of the encoder itself, and where the
    tokenizer is of another vocabulary (see `fit_vocabulary` for `embeddings`).
    """
    if lora is not None and not isinstance(lora, Lora):
        raise ConfigError("model.lora: expected null or a node of runwright.model.lora.Lora; try model=lora")
    if lora is not None and freeze:
        raise ConfigError("model.freeze: adapters freeze everything else by themselves; set it to []")
    source = resolve_source(name)
    common = {"revision": revision or "main", "trust_remote_code": code_allowed()}
    config, former_names = _load_config(name, source, head, common)
    set_dropout(config, dropout)
    moved = set_padding(config, tokenizer, embeddings=embeddings)
    options = {"dtype": torch_dtype(dtype), "attn_implementation": attention, **common}
    loaded = _load_weights(name, source, head, config, options)
    _check_encoder(name, loaded)
    check_padding(loaded.model)
    move_positions(loaded.model, moved)
    _report(loaded, head, former_names)
    set_initial_bias(loaded.model, head, new=loaded.new)
    found = fit_vocabulary(
        loaded.model, tokenizer, name=name, source=source, revision=revision, embeddings=embeddings
    )
    new = loaded.new | found
    frozen = freeze_parts(loaded.model, freeze, new=new)
    if frozen:
        log.info("frozen: %s", _some(frozen))
    return loaded.model if lora is None else add_adapters(loaded.model, lora, new=new)


def _load_config(
    name: str, source: str, head: Head, common: dict[str, Any]
) -> tuple[PreTrainedConfig, tuple[str, ...]]:
    """The configuration with the task's labels, and the names of the labels that the source had."""
    from transformers import AutoConfig

    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(source, **common)
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    former_names = tuple((config.id2label or {}).values())
    for key, value in head_options(head).items():
        setattr(config, key, value)
    return config, former_names


def _load_weights(
    name: str, source: str, head: Head, config: PreTrainedConfig, options: dict[str, Any]
) -> _Loaded:
    from safetensors import SafetensorError

    try:
        with quiet_transformers():
            model, report = auto_class(head).from_pretrained(
                source,
                config=config,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # a head for other labels; anything else is refused after it
                use_safetensors=True,  # nothing is unpickled
                **options,
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise _cannot_load(name, error) from error
    new = set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]}
    return _Loaded(model=model, new=new, unused=set(report["unexpected_keys"]))


def _cannot_load(name: str, error: Exception) -> ConfigError:
    text = str(error).strip() or type(error).__name__
    return ConfigError(f"model.name: cannot load {name!r}: {text.splitlines()[0]}")


def _check_encoder(name: str, loaded: _Loaded) -> None:
    """A missing head is what we came for and a missing pooler is common; anything else is another model."""
    # An encoder without a head is all encoder: no prefix says so.
    inside = "" if loaded.model.base_model is loaded.model else f"{loaded.model.base_model_prefix}."
    lacking = sorted(key for key in loaded.new if key.startswith(inside) and ".pooler." not in f".{key}")
    if lacking:
        raise ConfigError(
            f"model.name: {name!r} lacks {len(lacking)} weights of the encoder of "
            f"{type(loaded.model).__name__} or has them in another shape ({_some(lacking, most=3)}); "
            "its config.json does not belong to its weights"
        )


def _report(loaded: _Loaded, head: Head, former_names: tuple[str, ...]) -> None:
    shapes = {key: list(p.shape) for key, p in loaded.model.named_parameters() if key in loaded.new}
    if shapes:
        log.info("new: %s", _some([f"{key} {shape}" for key, shape in shapes.items()]))
    else:
        log.info("no new weights: the head comes from the checkpoint too")
        if head.label_names and former_names != head.label_names:
            log.warning(
                "the head was trained for the labels %s, in this order; the task has %s",
                _some(former_names),
                _some(head.label_names),
            )
    if loaded.unused:
        log.info("unused weights of the checkpoint: %s", _some(sorted(loaded.unused)))


def _some(names: list[str] | tuple[str, ...], *, most: int = _MAX_NAMED) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
