"""Decoding of a batch of prompts, in which each gets the tokens that it gets alone (in float32 on a CPU).

transformers' `generate` does the search. What would look at the padding or at the other prompts is put in its
way here: penalties see a prompt without its padding, and chance is drawn for each text by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from runwright.errors import DataError
from runwright.generation.strategies import Beam, PromptLookup, Sample, Strategy
from runwright.model.configuration import quiet_transformers
from runwright.model.padding_free import NAME as PADDING_FREE
from runwright.model.parameters import max_positions, without_adapters
from runwright.trainer.batches import derive_seed

OURS = {
    *("repetition_penalty", "no_repeat_ngram_size", "stop_strings", "transformers_version"),
    *("temperature", "top_k", "top_p", "min_p", "do_sample"),
}


class Penalties(transformers.LogitsProcessor):
    """The penalties of a strategy for each sequence without the padding before it."""

    def __init__(self, strategy: Strategy, *, num_pads: Sequence[int]) -> None:
        self.num_pads = num_pads  # of each prompt
        penalty = transformers.RepetitionPenaltyLogitsProcessor(strategy.repetition_penalty)
        self.processors = transformers.LogitsProcessorList([penalty])
        if strategy.no_repeat_ngram_size:
            self.processors.append(transformers.NoRepeatNGramLogitsProcessor(strategy.no_repeat_ngram_size))

    def __call__(self, input_ids: Any, scores: Any) -> Tensor:
        per_prompt = len(scores) // len(self.num_pads)  # beams
        starts = [num for num in self.num_pads for _ in range(per_prompt)]
        texts = (input_ids[n : n + 1, start:] for n, start in enumerate(starts))
        return torch.cat([self.processors(*row) for row in zip(texts, scores.split(1), strict=True)])


class Stream(BaseStreamer):
    """Hands on the new tokens of one prompt; the first that transformers puts are the prompt."""

    def __init__(self, on_tokens: Callable[[list[int]], None], ends: set[int]) -> None:
        self.on_tokens = on_tokens
        self.ends = ends
        self.has_begun = False

    def put(self, value: Tensor) -> None:
        if self.has_begun:
            self.on_tokens([token for token in value.flatten().tolist() if token not in self.ends])
        self.has_begun = True

    def end(self) -> None:
        pass


class Stops(transformers.StoppingCriteria):
    """Ends each sequence of which the new text has a stop string."""

    def __init__(self, stops: Sequence[str], tokenizer: Any, *, start: int) -> None:
        self.stops = stops
        self.tokenizer = tokenizer
        self.start = start  # where the new tokens begin
        self.num_tokens = 4 * max(map(len, stops)) + 8  # that are looked at: up to four make a character

    def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
        tails = input_ids[:, max(self.start, input_ids.shape[1] - self.num_tokens) :]
        texts = self.tokenizer.batch_decode(tails, skip_special_tokens=True)
        ended = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(ended, device=input_ids.device)


class Gumbel(transformers.LogitsProcessor):
    """Noise that makes the highest score an exact draw, from one generator for each sequence.

    The argmax of log-probabilities plus Gumbel noise is distributed as they say (Gumbel 1954).
    """

    def __init__(self, strategy: Sample, *, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        temperature = transformers.TemperatureLogitsWarper(strategy.temperature)
        self.warpers = transformers.LogitsProcessorList([temperature])
        if strategy.top_k:
            self.warpers.append(transformers.TopKLogitsWarper(strategy.top_k))
        if strategy.top_p is not None and strategy.top_p < 1:
            self.warpers.append(transformers.TopPLogitsWarper(strategy.top_p))
        if strategy.min_p is not None:
            self.warpers.append(transformers.MinPLogitsWarper(strategy.min_p))

    def __call__(self, input_ids: Any, scores: Any) -> Tensor:
        scores = self.warpers(input_ids, scores)
        size = scores.shape[-1]
        # Drawn on the CPU: another device gives the same text.
        waits = [torch.empty(size).exponential_(generator=generator) for generator in self.generators]
        return scores - torch.stack(waits).log().to(scores.device)


@torch.inference_mode()
def generate(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    strategy: Strategy,
    tokenizer: Any,
    example_ids: Sequence[int],
    forced_bos: int | None = None,
    on_tokens: Callable[[list[int]], None] | None = None,
) -> list[list[list[int]]]:
    """The new tokens of each prompt, without the one that ended them: B lists of K sequences of ids.

    `input_ids` and `attention_mask` are [B, P], padded on either side. `forced_bos` is the first token of an
    encoder-decoder's text, as of its language. `on_tokens` gets the tokens of one prompt as they come, where
    it has one text and no beam. Raises DataError for a prompt that leaves no position for a token.
    """
    model = without_adapters(model)
    config = strategy.to_config(model, tokenizer)
    if forced_bos is not None:
        config.forced_bos_token_id = forced_bos
    lengths = attention_mask.sum(dim=1).tolist()
    rooms = _rooms(model, lengths, strategy.max_new_tokens, example_ids)
    results: list[list[list[int]]] = [[]] * len(input_ids)
    with _able_to_generate(model):
        groups = [[row for row, other in enumerate(rooms) if other == room] for room in {*rooms}]
        if isinstance(strategy, PromptLookup) or getattr(model, "one_by_one", False):
            groups = [[row] for row in range(len(rooms))]
        for rows in groups:
            config.max_new_tokens = room = rooms[rows[0]]
            config.min_new_tokens = min(strategy.min_new_tokens, room)
            ids = [example_ids[row] for row in rows]
            prompts = input_ids[rows], attention_mask[rows]
            texts = _generate(model, *prompts, strategy, config, tokenizer, ids, on_tokens)
            for row, sequences in zip(rows, texts, strict=True):
                results[row] = sequences
    return results


def _rooms(model: Any, lengths: Sequence[int], wanted: int, example_ids: Sequence[int]) -> list[int]:
    """New tokens that each prompt may get: those that its model has positions for, and so of itself alone."""
    two = model.config.is_encoder_decoder
    sides = (model.get_encoder(), model.get_decoder()) if two else (model, model)
    positions, room = (max_positions(side) or max(lengths) + wanted for side in sides)
    taken = [0] * len(lengths) if two else lengths
    if max(lengths) > positions or max(taken) == room:
        raise DataError(
            f"a prompt of {max(lengths)} tokens, and {type(model).__name__} has positions for {positions} "
            "with at least one of an answer; shorten it",
            row=example_ids[lengths.index(max(lengths))],
        )
    return [min(wanted, room - length) for length in taken]


def _generate(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    strategy: Strategy,
    config: transformers.GenerationConfig,
    tokenizer: Any,
    example_ids: Sequence[int],
    on_tokens: Callable[[list[int]], None] | None,
) -> list[list[list[int]]]:
    """Sequences for prompts that have room for equally many tokens."""
    is_decoder = not model.config.is_encoder_decoder
    ends: Any = config.eos_token_id
    ends = {ends} if isinstance(ends, int) else {*(ends or ())}
    first = next((i for i in (config.bos_token_id, *ends, config.pad_token_id) if i is not None), 0)
    input_ids, attention_mask = _padded(input_ids, attention_mask, left=is_decoder, first=first)
    # The search of transformers, without what our processors and criteria do instead.
    search = {key: value for key, value in config.to_diff_dict().items() if key not in OURS}
    if isinstance(strategy, Sample):
        search.pop("num_return_sequences", None)
    config, processors = transformers.GenerationConfig(**search), transformers.LogitsProcessorList()
    num_pads = (attention_mask == 0).sum(dim=1).tolist() if is_decoder else [0] * len(input_ids)
    if strategy.repetition_penalty != 1 or strategy.no_repeat_ngram_size:
        repeats = strategy.num_sequences if isinstance(strategy, Sample) else 1
        processors.append(Penalties(strategy, num_pads=[n for n in num_pads for _ in range(repeats)]))
    if isinstance(strategy, Sample):
        copies = range(strategy.num_sequences)
        seeds = [derive_seed("generation", strategy.seed, i, copy) for i in example_ids for copy in copies]
        processors.append(Gumbel(strategy, seeds=seeds))
        input_ids = input_ids.repeat_interleave(len(copies), dim=0)
        attention_mask = attention_mask.repeat_interleave(len(copies), dim=0)
    streamer = None
    if on_tokens is not None and strategy.num_sequences == 1 and not isinstance(strategy, Beam):
        streamer = Stream(on_tokens, ends)
    start = input_ids.shape[1] if is_decoder else 1
    stopping = transformers.StoppingCriteriaList()
    if strategy.stop_strings:
        stopping.append(Stops(strategy.stop_strings, tokenizer, start=start))
    output = model.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        generation_config=config,
        logits_processor=processors,
        stopping_criteria=stopping,
        streamer=streamer,
    )
    texts = [_cut(row, ends, pad=config.pad_token_id) for row in output[:, start:].tolist()]
    size = strategy.num_sequences
    return [texts[first : first + size] for first in range(0, len(texts), size)]


def _padded(input_ids: Tensor, attention_mask: Tensor, *, left: bool, first: int) -> tuple[Tensor, Tensor]:
    """The same prompts padded on one side, no wider than the longest; an empty one gets a token."""
    order = attention_mask.argsort(dim=1, stable=True, descending=not left)
    input_ids, attention_mask = input_ids.gather(1, order), attention_mask.gather(1, order)
    width = max(1, int(attention_mask.sum(dim=1).max()))
    cut = slice(-width, None) if left else slice(width)
    input_ids, attention_mask = input_ids[:, cut].clone(), attention_mask[:, cut].clone()
    empty = attention_mask.sum(dim=1) == 0
    input_ids[empty, -1 if left else 0] = first
    attention_mask[empty, -1 if left else 0] = 1
    return input_ids, attention_mask


def _cut(ids: list[int], ends: set[int], *, pad: int) -> list[int]:
    """The tokens before the first that ends a text, without padding."""
    text = list(takewhile(lambda token: token not in ends, ids))
    while text and text[-1] == pad:
        text.pop()
    return text


@contextmanager
def _able_to_generate(model: Any) -> Iterator[None]:
    """The model with its usual attention, which can use a cache, and without settings of its own."""
    was_training, attention = model.training, model.config._attn_implementation
    saved = model.generation_config
    model.eval()
    model.generation_config = transformers.GenerationConfig()
    if attention == PADDING_FREE:
        model.set_attn_implementation("sdpa")
    try:
        with quiet_transformers():
            yield
    finally:
        model.generation_config = saved
        if attention == PADDING_FREE:
            model.set_attn_implementation(attention)
        model.train(was_training)
