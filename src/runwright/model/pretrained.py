"""Pretrained transformers with the head that a task asks for and a vector for each token of a tokenizer."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch

from runwright.config.permissions import code_allowed
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError, listed
from runwright.model import configuration
from runwright.model.configuration import Embeddings, log
from runwright.model.lora import Lora, add_adapters
from runwright.model.padding_free import use_padding_free
from runwright.model.parameters import encoder_prefix, freeze_parts, parameter_counts
from runwright.tokenizer.pretrained import (
    in_safetensors,
    load_pretrained,
    open_saved,
    why_not_loaded,
    with_safetensors,
)
from runwright.types import Head, OpenFraction

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_MIN_SAME = 0.5  # of the numbers: some of BERT's unused tokens may have got a meaning


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
    config = open_config(name, revision=revision)
    former_names = tuple((config.id2label or {}).values())
    for key, value in configuration.head_options(head).items():
        setattr(config, key, value)
    configuration.set_dropout(config, dropout)
    outline = torch.get_default_device().type == "meta"
    has_moved = not outline and configuration.set_padding(config, tokenizer, embeddings=embeddings)
    if config.is_encoder_decoder and head.auto_class == "AutoModelForCausalLM":
        raise ConfigError(f"model.name: {name!r} is an encoder with a decoder; take a decoder alone, as gpt2")
    execution = {"dtype": dtype, "attn_implementation": None if attention == "auto" else attention}
    model, new = open_model(configuration.auto_class(head), name, config, revision, **execution)
    if head.trained:
        # A bare encoder's pooler is not asked for.
        asked = {key for key in new if model.base_model is not model or ".pooler." not in f".{key}"}
        hint = "take a model trained for this task, train it (runwright train), or --allow-new-weights"
        _refuse_random(name, model, asked, hint)
    configuration.check_model(model, head)
    if outline:
        freeze_parts(model, freeze, new=new)
        return model
    configuration.set_global_attention(model)
    positions = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    if has_moved and any(getattr(module, "padding_idx", None) is not None for module in positions):
        problem = f"positions of {type(model).__name__} count on from the number of the padding"
        raise ConfigError(f"tokenizer: {problem}; take one that pads with the same number as the model's own")
    if not new and head.label_names and former_names != head.label_names:
        labels = listed(former_names), listed(head.label_names)
        log.warning("the head was trained for the labels %s, in this order; the task has %s", *labels)
    configuration.set_initial_bias(model, head, new=new)
    new |= fit_vocabulary(model, tokenizer, name=name, revision=revision, embeddings=embeddings)
    if frozen := freeze_parts(model, freeze, new=new):
        log.info("frozen: %s", listed(frozen))
    model = model if lora is None else add_adapters(model, lora, new=new)
    log.info("%s: %s", type(model).__name__, parameter_counts(model))
    if attention == "auto":
        use_padding_free(model)
    return model


def open_config(name: str, *, revision: str | None) -> PreTrainedConfig:
    from transformers import AutoConfig

    source, trusted = in_safetensors(resolve_source(name)), code_allowed()
    with loading(name):
        return AutoConfig.from_pretrained(source, revision=revision or "main", trust_remote_code=trusted)


def open_model(
    auto: Any, name: str, config: PreTrainedConfig, revision: str | None, **execution: Any
) -> tuple[Any, set[str]]:
    """The model, and names of its parameters that no checkpoint filled; logs them, and unused weights.

    On the meta device: the outline by the configuration. Raises ConfigError where the encoder lacks weights.
    """
    source = in_safetensors(resolve_source(name))
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # by a program on the hub, which gets the user's token
    with loading(name):
        if torch.get_default_device().type == "meta":
            return auto.from_config(config, trust_remote_code=code_allowed(), **execution), set()
        model, report = auto.from_pretrained(
            with_safetensors(source, name=name),
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for other labels; anything else is refused after it
            use_safetensors=True,  # nothing is unpickled
            revision=revision or "main",
            trust_remote_code=code_allowed(),
            **execution,
        )
    new = set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]}
    # A head is what we came for, T5's for answers has no prefix of its own; many lack a pooler, and a decoder
    # that was none before the cross-attention.
    crossing = "|cross" if getattr(config, "add_cross_attention", False) else ""
    pattern = rf"(^|\.)(pooler|qa_outputs)\.{crossing}"
    encoder = {key for key in new if key.startswith(encoder_prefix(model)) and not re.search(pattern, key)}
    _refuse_random(name, model, encoder, "its config.json does not belong to its weights")
    shapes = [f"{key} {list(p.shape)}" for key, p in model.named_parameters() if key in new]
    log.info("new: %s", listed(shapes) or "no weights, the head comes from the checkpoint too")
    if unused := sorted(report["unexpected_keys"]):
        log.info("unused weights of the checkpoint: %s", listed(unused))
    return model, new


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Inside, transformers is quiet and its errors become a ConfigError that names the model."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    values = TypeError, AttributeError, LookupError, ArithmeticError, StrictDataclassError  # of a config.json
    try:
        with configuration.quiet_transformers():
            yield
    except (OSError, ValueError, ImportError, SafetensorError, *values) as error:
        if "model.safetensors.index" in (reason := why_not_loaded(error)):  # a hub has none of this name
            once = f"runwright convert {shlex.quote(name)}"
            reason = f"no safetensors; of a pytorch_model.bin they are made once by: {once}"
        raise ConfigError(f"model.name: cannot load {name!r}: {reason}") from error


def _refuse_random(name: str, model: Any, lacking: set[str], hint: str) -> None:
    if lacking:
        weights = f"{listed(sorted(lacking))} of {type(model).__name__} or has them in another shape"
        raise ConfigError(f"model.name: {name!r} lacks {weights}: random weights; {hint}")


def fit_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    name: str,
    revision: str | None,
    embeddings: Embeddings,
) -> set[str]:
    """Make the embeddings of a checkpoint fit a tokenizer; the names of parameters that are new in part.

    `by_number`: token 7 takes vector 7, so the tokenizer has to be the checkpoint's own; what it has beyond
    the checkpoint's tokens gets new vectors. `by_token`: a token takes the vector that the checkpoint has for
    it, whatever the number; special tokens that of the same role. The others are drawn from torch's global
    generator, with the mean and the standard deviation of the checkpoint's vectors in each dimension. A head
    that scores tokens follows.

    Raises ConfigError where the numbers stand for other tokens, or there is none to look tokens up in.
    """
    if embeddings == "by_token":
        try:
            saved = open_saved(name, revision=revision)
        except ConfigError as error:
            raise ConfigError(f"model.embeddings: by_token asks the model's tokenizer; {error}") from error
        return _match_tokens(model, tokenizer, saved)
    num_embeddings = len(model.get_input_embeddings().get_parameter("weight"))
    if tokenizer.name_or_path != in_safetensors(resolve_source(name)):
        ids = {token: number for token, number in tokenizer.get_vocab().items() if number < num_embeddings}
        expected = ids
        with suppress(ConfigError):  # without a tokenizer beside the weights there is nothing to compare with
            expected = open_saved(name, revision=revision).get_vocab()
        num_others = sum(expected.get(token) != number for token, number in ids.items())
        if len(ids) - num_others < _MIN_SAME * len(ids):
            raise ConfigError(
                f"tokenizer: {num_others:,} of its {len(ids):,} tokens have another number in {name!r}, "
                "so they would get the vectors of other tokens; take the tokenizer of the model "
                "(tokenizer=pretrained, tokenizer.name=${model.name}), or with model.embeddings=by_token "
                "only the vectors of the tokens that both have"
            )
    if len(tokenizer) > num_embeddings:
        with configuration.quiet_transformers():
            model.resize_token_embeddings(len(tokenizer))
        last = len(tokenizer) - 1
        log.info("new: embeddings of tokens %d to %d, which the checkpoint lacks", num_embeddings, last)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id  # one of the new tokens
    return set()


def _match_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, saved: PreTrainedTokenizerFast
) -> set[str]:
    former = {name: tensor.clone() for name, tensor in _by_token(model).items()}
    num_former = len(model.get_input_embeddings().get_parameter("weight"))
    there, here = saved.get_vocab(), tokenizer.get_vocab()
    numbers = {number: there.get(token, -1) for token, number in here.items()}
    for role in saved.SPECIAL_TOKENS_ATTRIBUTES:
        token, other = getattr(tokenizer, role), getattr(saved, role)
        if token is not None and other is not None and numbers[here[token]] < 0:
            numbers[here[token]] = there[other]
    rows = [numbers.get(number, -1) for number in range(len(tokenizer))]
    origins = torch.tensor([row if row < num_former else -1 for row in rows])  # -1: of no token
    with configuration.quiet_transformers():
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for name, tensor in _by_token(model).items():
            values = former[name].float()
            drawn = values.mean(0) + values.std(0) * torch.randn(len(origins), *values.shape[1:])
            drawn[origins >= 0] = values[origins[origins >= 0]]
            tensor.copy_(drawn.to(former[name].dtype))
    configuration.set_special_tokens(model, tokenizer)
    counts = f"{int((origins >= 0).sum()):,} of the {len(origins):,}"
    log.info("the checkpoint has vectors of %s tokens, the others are new", counts)
    return set(former)


def _by_token(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Parameters with a row or a number for each token, by name; those that are tied once."""
    modules = [model.get_input_embeddings(), model.get_output_embeddings()]
    wanted = {id(parameter) for module in modules if module is not None for parameter in module.parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in wanted}


# --- two halves -------------------------------------------------------------------------------------------


def load_halves(
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    *,
    name: str,
    decoder: str,
    shared: bool,
    dtype: Literal["float32", "bfloat16", "float16", "float64"],
    dropout: OpenFraction | None,
    attention: Literal["auto", "sdpa", "eager", "flex_attention", "flash_attention_2"],
) -> nn.Module:
    """A transformers EncoderDecoderModel of the encoder under `name` and the decoder under `decoder`.

    New weights stand between the halves alone (Rothe et al. 2020). The decoder reads and writes the tokens of
    its own tokenizer. `shared` gives it the encoder's weights, all but the cross-attention, which is new.
    Raises ConfigError where a half cannot be one.
    """
    from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderConfig, EncoderDecoderModel

    writer = tokenizer if decoder == name else tokenizer_of(decoder)
    sides = (("name", name, tokenizer, AutoModel), ("decoder", decoder, writer, AutoModelForCausalLM))
    halves: list[Any] = []
    for key, source, _, auto in sides:
        config: Any = open_config(source, revision=None)
        is_decoder = key == "decoder"
        if config.is_encoder_decoder or (is_decoder and not hasattr(config, "add_cross_attention")):
            fitting = "bert, roberta or gpt2" if is_decoder else "bert or roberta"
            raise ConfigError(f"model.{key}: {config.model_type!r} cannot be one; take {fitting}")
        config.is_decoder = config.add_cross_attention = is_decoder
        configuration.set_dropout(config, dropout)
        options = {"dtype": dtype, "attn_implementation": None if attention == "auto" else attention}
        halves.append(open_model(auto, source, config, None, **options)[0])
    if shared:  # the decoder uses the encoder's parameters where it has some of the same name
        inner = halves[1].base_model
        names = {name for name, _ in inner.named_parameters()}
        same = [(name, weight) for name, weight in halves[0].named_parameters() if name in names]
        for name, weight in same:
            module, _, leaf = name.rpartition(".")
            setattr(inner.get_submodule(module), leaf, weight)
        halves[1].tie_weights()
        log.info("the decoder shares %d of its %d parameters with the encoder", len(same), len(names))
    whole = EncoderDecoderConfig.from_encoder_decoder_configs(*(half.config for half in halves))
    model: Any = EncoderDecoderModel(config=whole, encoder=halves[0], decoder=halves[1])
    model.save_pretrained = partial(_save, model)
    configuration.check_model(model, head)
    if not configuration.is_outline(model):
        for half, (_, source, vocabulary, _) in zip(halves, sides, strict=True):
            fit_vocabulary(half, vocabulary, name=source, revision=None, embeddings="by_number")
        configuration.set_special_tokens(model, writer)
        log.info("%s: %s", type(model).__name__, parameter_counts(model))
    return model


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    return load_pretrained(name=name, revision=None, padding_side=None, special_tokens={})


def _save(model: Any, folder: Any, **options: Any) -> None:
    """Write both halves whole: transformers has no name for weights that they share, and refuses them."""
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    type(model).save_pretrained(model, folder, state_dict=weights, **options)
