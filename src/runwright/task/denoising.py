"""Spans that are missing in a text, from the text around them: pretraining of encoder-decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from runwright.errors import ConfigError
from runwright.task.masking import cut_chunks, generator
from runwright.task.sequence_to_sequence import DecoderTask, check_ends
from runwright.task.text import special_tokens
from runwright.types import Example, Fraction, PositiveFloat, PositiveInt, Splits

SENTINEL = "<extra_id_{}>"  # of T5's vocabularies, one for each span of a text


class Denoising(DecoderTask):
    """Cuts texts into chunks, takes spans out anew in each epoch, and sums the losses of the target's tokens.

    What is taken out is a function of (data seed, epoch, chunk); in evaluation always the same. Spans (Raffel
    et al. 2020, 3.1.4): a sentinel stands for each span, and the target is the spans behind their sentinels.
    Infilling (Lewis et al. 2020): the mask stands for each span, also for empty ones, and the target is the
    whole text.
    """

    problem = "target_tokens"
    predicts_rows = False
    cuts_windows = True

    def __init__(
        self,
        tokenizer: Any,
        *,
        text_column: str,
        max_length: PositiveInt,
        join_rows: bool,
        objective: Literal["spans", "infilling"],
        mask_probability: Fraction,
        mean_span_length: PositiveFloat,
    ) -> None:
        super().__init__(tokenizer, text_columns=(text_column,), max_length=max_length)
        if objective == "infilling" and tokenizer.mask_token_id is None:
            raise ConfigError("tokenizer: it has no mask token, which task.objective=infilling needs")
        self.max_target_length = max_length
        self.join_rows = join_rows
        self.objective = objective
        self.mask_probability = mask_probability
        self.mean_span_length = mean_span_length

    def fit(self, splits: Splits) -> None:
        check_ends(self.tokenizer, ends=special_tokens(self.tokenizer)[1])

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each chunk of a text without special tokens; `padded_length` is of both sides."""
        prefix, suffix = special_tokens(self.tokenizer)
        framed = len(prefix) + len(suffix)
        size = self.max_length - framed  # neither source nor target is ever longer than the text
        if self.objective == "spans" and size > 0:
            self._sentinels(self._numbers(size)[1])
        texts, row_ids = columns[self.text_columns[0]], columns["row_id"]
        chunks = cut_chunks(self.tokenizer, texts, row_ids, size=size, join_rows=self.join_rows)
        return [
            {
                "example_id": chunk.example_id,
                "full_length": len(chunk.ids) + framed,
                "padded_length": 2 * (len(chunk.ids) + framed),
                "input_ids": chunk.ids,
            }
            for chunk in chunks
        ]

    def encode_records(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        raise ConfigError(
            "denoising pretrains a model and predicts nothing; train its best/ for a task, such as "
            "task=summarization model.name=RUN/best"
        )

    def augment(self, examples: Sequence[Example], *, seed: int, epoch: int) -> list[Example]:
        """The examples with spans taken out of `input_ids`, and `target_ids`."""
        prefix, suffix = special_tokens(self.tokenizer)
        augmented: list[Example] = []
        for example in examples:
            ids, chance = example["input_ids"], generator(seed, epoch, example["example_id"])
            if self.objective == "spans":
                spans = self._spans(len(ids), chance)
                marks, target = self._sentinels(len(spans)), []
                for mark, (start, end) in zip(marks, spans, strict=True):
                    target += [mark, *ids[start:end]]
            else:
                spans = self._holes(len(ids), chance)
                marks, target = [self.tokenizer.mask_token_id] * len(spans), [*prefix, *ids]
            source, last = [*prefix], 0
            for mark, (start, end) in zip(marks, spans, strict=True):
                source += [*ids[last:start], mark]
                last = end
            source += [*ids[last:], *suffix]
            augmented.append({**example, "input_ids": source, "target_ids": [*target, *suffix]})
        return augmented

    def _numbers(self, length: int) -> tuple[int, int]:
        """The numbers of tokens and of spans to take out of a text of so many tokens."""
        wanted = min(max(1, round(self.mask_probability * length)), max(1, length - 1))
        number = max(1, round(wanted / self.mean_span_length))
        return wanted, min(number, wanted, max(1, length - wanted))

    def _spans(self, length: int, chance: np.random.Generator) -> list[tuple[int, int]]:
        """Spans with at least one token before each of them; the last one ends the text, as in T5's code."""
        wanted, number = self._numbers(length)
        taken, left = (_parts(total, number, chance) for total in (wanted, length - wanted))
        ends = np.cumsum(taken) + np.cumsum(left)
        return [*zip((ends - taken).tolist(), ends.tolist(), strict=True)]

    def _holes(self, length: int, chance: np.random.Generator) -> list[tuple[int, int]]:
        """Spans of Poisson lengths, also of none, wherever they fall."""
        wanted, _ = self._numbers(length)
        ends = chance.poisson(self.mean_span_length, size=wanted).cumsum().clip(max=wanted)
        ends[-1] = wanted
        sizes = np.diff(ends[: np.searchsorted(ends, wanted) + 1], prepend=0)
        before = np.sort(chance.integers(0, length - sizes.sum() + 1, size=len(sizes)))  # tokens that stay
        ends = before + sizes.cumsum()
        return [*zip((ends - sizes).tolist(), ends.tolist(), strict=True)]

    def _sentinels(self, number: int) -> list[int]:
        vocabulary = self.tokenizer.get_vocab()
        names = [SENTINEL.format(index) for index in range(number)]
        if lacking := [name for name in names if name not in vocabulary]:
            raise ConfigError(
                f"tokenizer: {number} spans of a text need a token each, and it has no {lacking[0]}; take "
                f"T5's, add up to {names[-1]} to tokenizer.extra_tokens, or set task.objective=infilling"
            )
        return [vocabulary[name] for name in names]


def _parts(total: int, number: int, chance: np.random.Generator) -> np.ndarray:
    """A whole number as the sum of so many above 0, all such sums alike likely; 0 is one 0."""
    cuts = np.sort(chance.permutation(max(0, total - 1))[: number - 1]) + 1
    return np.diff([0, *cuts, total])
