"""Decoding strategies: the options of each, checked, and the transformers configuration that they stand for.

transformers' GenerationConfig accepts nearly anything, so every option has its type and bounds here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from runwright.types import NonNegativeInt, PositiveFloat, PositiveInt, Range

if TYPE_CHECKING:
    from transformers import GenerationConfig

Share = Annotated[float, Range(gt=0, le=1)]
Temperature = Annotated[float, Range(ge=1e-5)]  # logits over less than that overflow

# Of a model's own generation settings those that say what its tokens mean; how it decodes is the strategy's.
MODEL_SETTINGS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id", "bad_words_ids"),
    *("suppress_tokens", "begin_suppress_tokens"),
)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Options that every strategy has."""

    max_new_tokens: PositiveInt
    min_new_tokens: NonNegativeInt
    no_repeat_ngram_size: NonNegativeInt  # 0: any n-gram may come again
    repetition_penalty: PositiveFloat  # 1: none
    stop_strings: Sequence[str]  # a text ends before the first of these

    @property
    def num_sequences(self) -> int:
        """Number of texts that each prompt gets."""
        return getattr(self, "num_return_sequences", 1)

    def to_config(self, model: Any, tokenizer: Any) -> GenerationConfig:
        """The same for transformers' `generate`, with the special tokens of model and tokenizer."""
        from transformers import GenerationConfig

        saved = getattr(model, "generation_config", None) or GenerationConfig()
        settings = {name: getattr(saved, name, None) for name in MODEL_SETTINGS}
        ends = settings["eos_token_id"]
        ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
            ends = [*ends, tokenizer.eos_token_id]
        settings["eos_token_id"] = ends[0] if len(ends) == 1 else ends or None
        if tokenizer.pad_token_id is not None or settings["pad_token_id"] is None:
            settings["pad_token_id"] = next((i for i in (tokenizer.pad_token_id, *ends) if i is not None), 0)
        settings |= self.options()
        return GenerationConfig(**{name: value for name, value in settings.items() if value is not None})

    def options(self) -> dict[str, Any]:
        """The options by their names in transformers."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return options | {"stop_strings": list(self.stop_strings) or None}


@dataclass(frozen=True, kw_only=True)
class Greedy(Strategy):
    """The most probable token at each step."""


@dataclass(frozen=True, kw_only=True)
class Beam(Strategy):
    """The most probable texts among those that a search with a beam comes across."""

    num_beams: PositiveInt
    length_penalty: float
    early_stopping: bool | Literal["never"]
    num_return_sequences: PositiveInt


@dataclass(frozen=True, kw_only=True)
class Sample(Strategy):
    """Tokens drawn by their probabilities; a function of the seed, the example and the number of the text."""

    temperature: Temperature
    top_k: PositiveInt | None
    top_p: Share | None
    min_p: Share | None
    num_return_sequences: PositiveInt
    seed: NonNegativeInt

    def options(self) -> dict[str, Any]:
        options = super().options() | {"do_sample": True, "top_k": self.top_k or 0}  # not set: 50 there
        del options["seed"]
        return options


@dataclass(frozen=True, kw_only=True)
class PromptLookup(Strategy):
    """The texts of greedy search; several tokens are tried at once where the text repeats its prompt."""

    prompt_lookup_num_tokens: PositiveInt
    max_matching_ngram_size: PositiveInt
