"""A pretrained transformer with the head that a task asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from runwright.config.permissions import code_allowed
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError, listed
from runwright.model.configuration import (
    Embeddings,
    auto_class,
    check_causal,
    check_padding,
    head_options,
    log,
    quiet_transformers,
    set_dropout,
    set_initial_bias,
    set_padding,
)
from runwright.model.lora import Lora, add_adapters
from runwright.model.padding_free import use_padding_free
from runwright.model.parameters import (
    check_positions,
    check_types,
    encoder_prefix,
    freeze_parts,
    parameter_counts,
)
from runwright.model.vocabulary import fit_vocabulary, move_positions
from runwright.tokenizer.gguf import in_safetensors
from runwright.types import Head, OpenFraction

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast


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
    attention: Literal["auto", "sdpa", "eager", "flex_attention", "flash_attention_2"],
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
    source = in_safetensors(resolve_source(name))
    options = {"revision": revision or "main", "trust_remote_code": code_allowed()}
    config, former_names = _load_config(name, source, head, options)
    set_dropout(config, dropout)
    moved = set_padding(config, tokenizer, embeddings=embeddings)
    with _loading(name):
        model, report = auto_class(head).from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for other labels; anything else is refused after it
            use_safetensors=True,  # nothing is unpickled
            dtype=getattr(torch, dtype),
            attn_implementation=None if attention == "auto" else attention,
            **options,
        )
    new = set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]}
    _check_encoder(name, model, new)
    check_padding(model)
    check_causal(model, head)
    check_positions(model, head.max_length)
    check_types(model, head.num_types)
    move_positions(model, moved)
    _report(model, new, head, former_names=former_names, unused=sorted(report["unexpected_keys"]))
    set_initial_bias(model, head, new=new)
    new |= fit_vocabulary(
        model, tokenizer, name=name, source=source, revision=revision, embeddings=embeddings
    )
    frozen = freeze_parts(model, freeze, new=new)
    if frozen:
        log.info("frozen: %s", listed(frozen))
    model = model if lora is None else add_adapters(model, lora, new=new)
    log.info("%s: %s", type(model).__name__, parameter_counts(model))
    if attention == "auto":
        use_padding_free(model)
    return model


def check_length(head: Head, *, name: str) -> None:
    """Raise ConfigError where a saved model has too few positions, which its config.json tells."""
    source, options = in_safetensors(resolve_source(name)), {"trust_remote_code": code_allowed()}
    config, _ = _load_config(name, source, head, options)
    with torch.device("meta"), quiet_transformers():
        model = auto_class(head).from_config(config, trust_remote_code=code_allowed())
    check_positions(model, head.max_length)


def _load_config(
    name: str, source: str, head: Head, options: dict[str, Any]
) -> tuple[PreTrainedConfig, tuple[str, ...]]:
    """The configuration with the task's labels, and the names of the labels that the source had."""
    from transformers import AutoConfig

    with _loading(name):
        config = AutoConfig.from_pretrained(source, **options)
    former_names = tuple((config.id2label or {}).values())
    for key, value in head_options(head).items():
        setattr(config, key, value)
    return config, former_names


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Inside, transformers is quiet and its errors become a ConfigError that names the model."""
    from safetensors import SafetensorError

    try:
        with quiet_transformers():
            yield
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        text = str(error).strip() or type(error).__name__
        raise ConfigError(f"model.name: cannot load {name!r}: {text.splitlines()[0]}") from error


def _check_encoder(name: str, model: Any, new: set[str]) -> None:
    """Refuse other new weights than a head, which is what we came for, and a pooler, which many lack."""
    lacking = [key for key in new if key.startswith(encoder_prefix(model)) and ".pooler." not in f".{key}"]
    if lacking:
        raise ConfigError(
            f"model.name: {name!r} lacks {len(lacking)} weights of the encoder of {type(model).__name__} or "
            f"has them in another shape ({listed(sorted(lacking))}); its config.json does not belong "
            "to its weights"
        )


def _report(
    model: Any, new: set[str], head: Head, *, former_names: tuple[str, ...], unused: list[str]
) -> None:
    shapes = [f"{key} {list(p.shape)}" for key, p in model.named_parameters() if key in new]
    if shapes:
        log.info("new: %s", listed(shapes))
    else:
        log.info("no new weights: the head comes from the checkpoint too")
        if head.label_names and former_names != head.label_names:
            log.warning(
                "the head was trained for the labels %s, in this order; the task has %s",
                listed(former_names),
                listed(head.label_names),
            )
    if unused:
        log.info("unused weights of the checkpoint: %s", listed(unused))
