"""A transformer that starts from random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from runwright.errors import ConfigError, did_you_mean
from runwright.model import configuration
from runwright.model.configuration import log
from runwright.model.padding_free import use_padding_free
from runwright.model.parameters import parameter_counts
from runwright.model.pretrained import open_config
from runwright.types import Head, OpenFraction

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast


POSITIONS = "max_position_embeddings"
FROM_TASK = ("id2label", "label2id", "problem_type", "architectures", "dtype", "transformers_version")


def build(
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    *,
    architecture: str,
    config: dict[str, Any],
    dtype: Literal["float32", "bfloat16", "float16", "float64"],
    dropout: OpenFraction | None,
    attention: Literal["auto", "sdpa", "eager", "flex_attention", "flash_attention_2"],
) -> nn.Module:
    """A model of any architecture that transformers has; `config` holds what differs from its defaults.

    Vocabulary and special tokens come from the tokenizer, a number of positions that is null from the task.
    Weights are drawn from torch's global generator.
    """
    from transformers import CONFIG_MAPPING

    if architecture not in CONFIG_MAPPING:
        hint = did_you_mean(architecture, CONFIG_MAPPING)
        raise ConfigError(f"model.architecture: transformers has no {architecture!r}; {hint}".rstrip("; "))
    return _build(head, tokenizer, CONFIG_MAPPING[architecture](), {}, config, dropout, dtype, attention)


def edited(
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    *,
    name: str,
    revision: str | None,
    config: dict[str, Any],
    dtype: Literal["float32", "bfloat16", "float16", "float64"],
    dropout: OpenFraction | None,
    attention: Literal["auto", "sdpa", "eager", "flex_attention", "flash_attention_2"],
) -> nn.Module:
    """A model of the architecture of a checkpoint and of its sizes, but for those in `config`."""
    base = open_config(name, revision=revision)
    saved = {key: value for key, value in base.to_diff_dict().items() if key not in FROM_TASK}
    return _build(head, tokenizer, base, saved, config, dropout, dtype, attention)


def _build(
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    base: PreTrainedConfig,
    saved: dict[str, Any],
    config: dict[str, Any],
    dropout: float | None,
    dtype: str,
    attention: str,
) -> nn.Module:
    from huggingface_hub.errors import StrictDataclassError

    execution: Any = {"dtype": dtype, "attn_implementation": None if attention == "auto" else attention}
    architecture, names = base.model_type, [*base.to_dict(), *base.attribute_map]
    if architecture == "encoder-decoder":
        raise ConfigError("model: given two halves, which start from checkpoints; take model=encoder_decoder")
    if "n_inner" in names and "intermediate_size" in config:  # GPT-2's name for it
        config = {**config, "n_inner": config["intermediate_size"]}
        del config["intermediate_size"]
    if unknown := [option for option in config if option not in names]:
        problem = f"{architecture!r} has no such option; {did_you_mean(unknown[0], names)}"
        raise ConfigError(f"model.config.{unknown[0]}: {problem}".rstrip("; "))
    options = {**config, **configuration.special_token_ids(base, tokenizer)}
    options |= configuration.head_options(head)
    if options.get(POSITIONS, 0) is None:
        options[POSITIONS] = max(head.max_length, head.max_target_length)
    if "num_key_value_heads" in names and "num_attention_heads" in config:  # the default has its own size
        options.setdefault("num_key_value_heads", config["num_attention_heads"])
    options["vocab_size"] = len(tokenizer)
    try:
        filled = type(base)(**saved | {base.attribute_map.get(name, name): v for name, v in options.items()})
        configuration.set_dropout(filled, dropout)
        with configuration.quiet_transformers():
            model = configuration.auto_class(head).from_config(filled, trust_remote_code=False, **execution)
    except StrictDataclassError as error:
        raise ConfigError(f"model.config: {' '.join(str(error).split())}") from error
    except (TypeError, ValueError, ArithmeticError, ImportError) as error:
        reason = " ".join(str(error).partition("\nModel type should be")[0].split())
        raise ConfigError(f"model: cannot build {architecture!r}: {reason}") from error
    configuration.check_model(model, head)
    configuration.set_initial_bias(model, head, new=None)
    configuration.set_global_attention(model)
    log.info("new: all weights of %s, %s", type(model).__name__, parameter_counts(model))
    if attention == "auto":
        use_padding_free(model)
    return model
