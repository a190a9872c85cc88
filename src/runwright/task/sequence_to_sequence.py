"""A text from a text by an encoder and a decoder: translation, summarization, and spans that are missing."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from datasets import Dataset

from runwright.dataset.checks import has_column
from runwright.errors import ConfigError, DataError, did_you_mean
from runwright.model.pretrained import tokenizer_of
from runwright.task.generating import GeneratingTask, TargetTask
from runwright.task.masking import cut_chunks, generator
from runwright.task.text import as_texts, encode_texts, special_tokens
from runwright.tokenizer.pretrained import tokenizer_fingerprint
from runwright.types import Example, Fraction, OpenFraction, PositiveFloat, PositiveInt, Splits


class SequenceToSequence(GeneratingTask):
    """Encodes source and target, sums the losses of the target's tokens, and writes texts to evaluate.

    The target may be a list of references: the first is trained on and gives the loss, metrics compare with
    all of them. The count is the number of target tokens, with or without label smoothing.
    """

    auto_class = "AutoModelForSeq2SeqLM"

    def __init__(
        self,
        tokenizer: Any,
        *,
        source_column: str,
        target_column: str,
        prefix: str,
        max_length: PositiveInt,
        max_target_length: PositiveInt,
        source_language: str | None,
        target_language: str | None,
        forced_first_token: str | None,
        label_smoothing: OpenFraction,
        target_tokenizer: str | None,
    ) -> None:
        super().__init__(tokenizer, text_columns=(source_column,), max_length=max_length)
        self.row_texts = (source_column, target_column)
        self.label_columns = (target_column,)  # shown with the columns of the rows
        self.target_column = target_column
        self.prefix = prefix
        self.max_target_length = max_target_length
        self.label_smoothing = label_smoothing
        self.writer = tokenizer if target_tokenizer is None else tokenizer_of(target_tokenizer)
        ends = [] if self.writer is tokenizer else [self.writer.eos_token_id]
        self.end: list[int] = [] if special_tokens(self.writer)[1] or ends == [None] else ends
        codes = ("source", "src_lang", source_language), ("target", "tgt_lang", target_language)
        for side, attribute, code in codes:
            if code is not None and not hasattr(tokenizer, attribute):
                raise ConfigError(
                    f"task.{side}_language: {type(tokenizer).__name__} has no codes of languages; set it to "
                    "null, and say what to do in task.prefix"
                )
            if code is not None:
                _token_id(tokenizer, code, f"{side}_language")
                setattr(tokenizer, attribute, code)
        first = target_language if forced_first_token is None else forced_first_token
        self.forced_bos = None if first is None else _token_id(tokenizer, first, "forced_first_token")

    def fit(self, splits: Splits) -> None:
        """Check tokenizer and targets; raises DataError naming split, row and column."""
        check_ends(self.tokenizer, ends=self.end or special_tokens(self.writer)[1])
        super().fit(splits)

    def state_dict(self) -> dict[str, Any]:
        """Learned attributes and the tokens of targets, on which cached examples depend."""
        other = self.writer is not self.tokenizer
        return super().state_dict() | ({"targets": tokenizer_fingerprint(self.writer)} if other else {})

    def read_labels(self, rows: Dataset, *, split: str) -> list[list[str]] | None:
        """The references of each row; None where the rows have no such column."""
        if not has_column(rows, self.target_column, split=split, option="task.target_column"):
            return None
        references: list[list[str]] = []
        for row, value in enumerate(rows[self.target_column][:]):
            where: Any = {"split": split, "row": row, "column": self.target_column}
            texts = as_texts(value if isinstance(value, list) else [value], **where)
            if not texts or not all(text.strip() for text in texts):
                raise DataError("the target is empty; drop such rows (dataset.cleaning: DropEmpty)", **where)
            references.append(texts)
        return references

    def references(self, rows: Any) -> list[list[str]] | None:
        return self.read_labels(rows, split="evaluation")

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """`input_ids` of the source behind the prefix, and `target_ids` of the first target, if any."""
        (column,) = self.text_columns
        texts = [self.prefix + text for text in as_texts(columns[column])]
        examples = encode_texts(self.tokenizer, {column: texts}, max_length=self.max_length)
        for example, row_id in zip(examples, columns["row_id"], strict=True):
            example["example_id"] = row_id
        if "labels" in columns:
            firsts = {self.target_column: [references[0] for references in columns["labels"]]}
            room = self.max_target_length - len(self.end)
            targets = encode_texts(self._target_tokenizer, firsts, max_length=room)
            for example, target in zip(examples, targets, strict=True):
                example["target_ids"] = [*target["input_ids"], *self.end]
                example["full_target_length"] = target["full_length"] + len(self.end)
        return examples

    def _target_tokenizer(self, texts: Sequence[str], **options: Any) -> Any:
        """The tokenizer as it cuts targets, which some languages and vocabularies differ in."""
        return self.writer(text_target=texts, **options)


def check_ends(tokenizer: Any, *, ends: Sequence[int]) -> None:
    """Raise ConfigError where no tokens end a text, or the tokenizer pads before them."""
    if not ends:
        raise ConfigError(
            "tokenizer: it puts no token after a text, so the model could not learn where to end; take "
            "another, for a trained one tokenizer.family=t5, for a decoder task=instruction_tuning"
        )
    if tokenizer.padding_side != "right":
        raise ConfigError("tokenizer.padding_side: given left, expected right: encoders count from there")


def _token_id(tokenizer: Any, token: str, option: str) -> int:
    vocabulary = tokenizer.get_vocab()
    if token not in vocabulary:
        hint = did_you_mean(token, tokenizer.all_special_tokens)
        raise ConfigError(f"task.{option}: the tokenizer has no token {token!r}; {hint}".rstrip("; "))
    return vocabulary[token]


# --- denoising --------------------------------------------------------------------------------------------

SENTINEL = "<extra_id_{}>"  # of T5's vocabularies, one for each span of a text


class Denoising(TargetTask):
    """Cuts texts into chunks, takes spans out anew in each epoch, and sums the losses of the target's tokens.

    What is taken out is a function of (data seed, epoch, chunk); in evaluation always the same. Spans (Raffel
    et al. 2020, 3.1.4): a sentinel stands for each span, and the target is the spans behind their sentinels.
    Infilling (Lewis et al. 2020): the mask stands for each span, also empty ones; the target is the text.
    """

    problem = "target_tokens"
    auto_class = "AutoModelForSeq2SeqLM"
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
        prefix, suffix = special_tokens(self.tokenizer)
        check_ends(self.tokenizer, ends=suffix)
        if self.objective == "spans" and (size := self.max_length - len(prefix) - len(suffix)) > 0:
            self._sentinels(self._numbers(size)[1])

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each chunk of a text without special tokens; `padded_length` is of both sides."""
        framed = sum(map(len, special_tokens(self.tokenizer)))
        size = self.max_length - framed  # neither source nor target is ever longer than the text
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
