"""An encoder-decoder of two pretrained halves (Rothe et al. 2020), with new weights between them alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError
from runwright.model import configuration
from runwright.model.configuration import log
from runwright.model.parameters import parameter_counts
from runwright.model.pretrained import fit_vocabulary, open_config, open_model
from runwright.tokenizer.pretrained import load_pretrained
from runwright.types import Head, OpenFraction

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast


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

    The decoder reads and writes the tokens of its own tokenizer. `shared` gives it the encoder's weights, all
    but the cross-attention, which is new. Raises ConfigError where a half cannot be one.
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
    if shared:
        _share(*halves)
    whole = EncoderDecoderConfig.from_encoder_decoder_configs(*(half.config for half in halves))
    model: Any = EncoderDecoderModel(config=whole, encoder=halves[0], decoder=halves[1])
    model.save_pretrained = partial(_save, model)
    configuration.check_model(model, head)
    if configuration.is_outline(model):
        return model
    for half, (_, source, vocabulary, _) in zip(halves, sides, strict=True):
        fit_vocabulary(half, vocabulary, name=source, revision=None, embeddings="by_number")
    configuration.set_special_tokens(model, writer)
    log.info("%s: %s", type(model).__name__, parameter_counts(model))
    return model


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of the half under `name`."""
    return load_pretrained(name=name, revision=None, padding_side=None, special_tokens={})


def _share(encoder: Any, decoder: Any) -> None:
    """Let the decoder use the encoder's parameters where it has some of the same name."""
    inner = decoder.base_model
    names = {name for name, _ in inner.named_parameters()}
    shared = [(name, weight) for name, weight in encoder.named_parameters() if name in names]
    for name, weight in shared:
        module, _, leaf = name.rpartition(".")
        setattr(inner.get_submodule(module), leaf, weight)
    decoder.tie_weights()
    log.info("the decoder shares %d of its %d parameters with the encoder", len(shared), len(names))


def _save(model: Any, folder: Any, **options: Any) -> None:
    """Write both halves whole: transformers has no name for weights that they share, and refuses them."""
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    type(model).save_pretrained(model, folder, state_dict=weights, **options)
