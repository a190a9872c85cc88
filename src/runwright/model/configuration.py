"""What both ways to a model set in its transformers configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from runwright.types import Head


def torch_dtype(name: str) -> torch.dtype:
    """The torch type of that name."""
    import torch

    return getattr(torch, name)


def auto_class(head: Head) -> Any:
    """The auto class of transformers that a task asks for."""
    import transformers

    return getattr(transformers, head.auto_class)


def head_options(head: Head) -> dict[str, Any]:
    """Number, names and kind of the labels, as a transformers configuration takes them."""
    options: dict[str, Any] = {"num_labels": head.num_labels} if head.num_labels else {}
    if head.problem_type is not None:
        options["problem_type"] = head.problem_type
    if head.label_names:
        options["id2label"] = dict(enumerate(head.label_names))
        options["label2id"] = {name: index for index, name in enumerate(head.label_names)}
    return options


def set_dropout(config: PreTrainedConfig, dropout: float | None) -> None:
    """Give every kind of dropout of this architecture the same probability; None leaves them as they are."""
    if dropout is None:
        return
    names = [name for name, value in config.to_dict().items() if _is_dropout(name, value)]
    if not names:
        raise ConfigError(
            f"model.dropout: {type(config).__name__} has no dropout to set; set model.dropout to null"
        )
    for name in names:
        setattr(config, name, dropout)


def _is_dropout(name: str, value: Any) -> bool:
    # Layer drop skips whole layers: another thing. None means "as hidden dropout" for classifiers.
    is_probability = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    return is_probability and ("dropout" in name or name.endswith("pdrop"))


def set_padding(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make model and tokenizer agree on the padding token, which decoder heads look for."""
    given = tokenizer.pad_token_id
    own = getattr(config, "pad_token_id", None)
    if own is None:
        config.pad_token_id = given
    elif given is not None and given != own:
        raise ConfigError(
            f"tokenizer.name: the tokenizer pads with token {given}, the model with {own}; "
            "take the tokenizer that belongs to the model (tokenizer.name: ${model.name})"
        )


def special_token_ids(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The ids of the special tokens that an architecture has, as the tokenizer numbers them.

    A tokenizer with [CLS] and [SEP] only begins with the one and ends with the other.
    """
    begin = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    pad, names = tokenizer.pad_token_id, [key for key in config.to_dict() if key.endswith("_token_id")]
    ids = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad, "forced_eos_token_id": end}
    found = {name: ids.get(name, getattr(tokenizer, name, None)) for name in names}
    if config.is_encoder_decoder:  # BART's decoder starts with the end token, T5's with the padding
        start = getattr(config, "decoder_start_token_id", None)
        starts_with_end = start is not None and start == getattr(config, "eos_token_id", None)
        found["decoder_start_token_id"] = end if starts_with_end else pad
    return found
