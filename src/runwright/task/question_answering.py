"""Extractive question answering: the answer to a question as a span of a given text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from torch import Tensor

from runwright.dataset.checks import has_column
from runwright.errors import DataError
from runwright.metric.answers import text_exact_match, text_f1
from runwright.predictions import Ragged
from runwright.task import answers
from runwright.task import text as windows
from runwright.task.answers import UNKNOWN, AnswerResults, Answers
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.text import IGNORED, RowNotes, Span, as_texts, notes_of, positions_of, trimmed
from runwright.types import Batch, Example, Head, LossSum, NonNegativeInt, PerExample, PositiveInt, Splits


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanPredictions(PerExample):
    """The best spans of N windows; the loss count is 0 where the position of the answer is unknown."""

    spans: Ragged  # [N] rows of [K, 2] int32 characters in the context, in the order of the text
    scores: Ragged  # [N] rows of [K] float32, log-probability of both ends together
    no_answer_scores: np.ndarray  # [N] float32, log-probability that the window has no answer


class QuestionAnswering(Task):
    """Encodes a question with windows of its context, sums losses over windows, and finds the best span.

    A window without the answer points at its first token, as the reference of Devlin et al. (2019) does.
    """

    problem = "answers"
    auto_class = "AutoModelForQuestionAnswering"
    prediction_type = SpanPredictions
    token_fields: ClassVar = {"starts": -1, "ends": -1}
    cuts_windows = True

    def __init__(
        self,
        tokenizer: Any,
        *,
        question_column: str,
        context_column: str,
        answers_column: str,
        misplaced_answers: Literal["refuse", "mend"],
        max_length: PositiveInt,
        overlap: NonNegativeInt,
        max_question_length: PositiveInt,
        max_answer_length: PositiveInt,
        n_best: PositiveInt,
        no_answer_threshold: float | None,
        normalization: Literal["squad", "cmrc"],
    ) -> None:
        super().__init__(tokenizer, text_columns=(question_column, context_column), max_length=max_length)
        self.context_column = context_column
        self.answers_column = answers_column
        self.misplaced: Literal["refuse", "mend"] = misplaced_answers
        self.overlap = overlap
        self.max_question_length = max_question_length
        self.max_answer_length = max_answer_length
        self.n_best = n_best
        self.threshold = no_answer_threshold
        self.rules: Literal["squad", "cmrc"] = normalization

    def fit(self, splits: Splits) -> None:
        """Check every context and answer; raises DataError naming split, row and column."""
        notes: dict[str, RowNotes] = {split: {} for split in splits}
        for split, rows in splits.items():
            for row, text in enumerate(rows[self.context_column][:]):
                if not str(text or "").strip():
                    raise DataError("the context is empty", split=split, row=row, column=self.context_column)
            self._answers(rows, split=split, notes=notes[split])
        self.notes = notes_of(notes, splits)

    @property
    def head(self) -> Head:
        """A score of the first and of the last token."""
        return replace(super().head, num_labels=2)

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """`row_id`, question, context, and where there are answers `from` and `to`, its characters."""
        inputs = super().inputs_of(rows, split=split)
        if (labels := self._answers(rows, split=split)) is not None:
            starts, ends = zip(*(answer.span for answer in labels), strict=True)
            inputs = inputs.add_column("from", list(starts)).add_column("to", list(ends))  # pyright: ignore
        return inputs

    def _answers(self, rows: Any, *, split: str, notes: RowNotes | None = None) -> list[Answers] | None:
        """The answers of each row; None where the rows have no such column."""
        if not has_column(rows, self.answers_column, split=split, option="task.answers_column"):
            return None
        options: Any = {"column": self.answers_column, "context_column": self.context_column}
        options |= {"may_lack": self.threshold is not None, "misplaced": self.misplaced}
        return answers.read_answers(rows, split=split, notes=notes, **options)

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each window of each context, with the beginning of the question before it.

        `starts` and `ends` hold the characters of each token of the context, -1 for the others. `start` and
        `end` are an answer's first and last token, 0 where the window lacks some of it, -100 if unknown.
        """
        texts = [as_texts(columns[name]) for name in self.text_columns]
        options = {"return_offsets_mapping": True, "return_attention_mask": False, "verbose": False}
        encoded = self.tokenizer(*texts, **options)
        names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
        sizes = {"max_before": self.max_question_length, "max_length": self.max_length}
        examples: list[Example] = []
        for row, row_id in enumerate(columns["row_id"]):
            if not encoded["input_ids"][row]:
                problem = "neither the question nor the context makes a token; drop such rows"
                raise DataError(problem, row=row, column=self.context_column)
            parts = encoded.sequence_ids(row)
            spans = zip(encoded["offset_mapping"][row], parts, strict=True)
            spans = [span if part == 1 else (-1, -1) for span, part in spans]
            fields = {name: encoded[name][row] for name in names}
            fields |= {"starts": [start for start, _ in spans], "ends": [end for _, end in spans]}
            answer = (columns["from"][row], columns["to"][row]) if "from" in columns else None
            covering = None if answer is None else answers.tokens_of(answer, spans)
            cut = windows.window_examples(row_id, fields, parts, text=1, overlap=self.overlap, **sizes)
            for tokens, _, example in cut:
                if answer is not None:
                    example["start"] = example["end"] = IGNORED if answer == UNKNOWN else 0
                if covering is not None and {*covering} <= {*tokens}:
                    example["start"], example["end"] = map(tokens.index, covering)
                examples.append(example)
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """With `labels` [B, 2], the first and the last token of each answer, where there are some."""
        batch = super().collate(examples)
        if "start" in examples[0]:
            labels = torch.tensor([[example["start"], example["end"]] for example in examples])
            batch["labels"] = torch.where(labels == IGNORED, labels, labels + _first_token(batch)[:, None])
        return batch

    def count(self, examples: Sequence[Example]) -> float:
        """Number of windows of which it is known where the answer is, or that there is none."""
        return float(sum(example["start"] != IGNORED for example in examples))

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """Scores of the first and the last token [B, 2, L], at least in float32."""
        scores = model(**model_inputs(batch))
        return at_least_float32(torch.stack([scores.start_logits, scores.end_logits], dim=1))

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over windows of the mean of both cross-entropies in nats.

        Padding takes no part in them; in the reference it does, so that its loss depends on the batch.
        """
        is_known = batch["labels"][:, 0] != IGNORED
        if self.loss_option is None:
            total = self._losses(outputs, batch).sum()
        else:  # each end is a choice between tokens
            scores, labels = _masked(outputs, batch)[is_known], batch["labels"][is_known]
            total = self.sum_losses(scores.flatten(0, 1), labels.flatten(), batch) / 2
        return LossSum(total=total, count=float(is_known.sum()))

    def predictions(self, outputs: Tensor, batch: Batch) -> SpanPredictions:
        """The best spans of each window, by the log-probabilities of both ends together."""
        chances = _masked(outputs, batch).log_softmax(dim=-1)
        spans, scores, exists = self._best(chances, batch)
        first = _first_token(batch)[:, None, None].expand(-1, 2, 1)
        judged: dict[str, Any] = {}
        if "labels" in batch:
            judged["losses"] = self._losses(outputs, batch).double().cpu().numpy()
            judged["loss_counts"] = (batch["labels"][:, 0] != IGNORED).double().cpu().numpy()
        lengths = exists.sum(dim=1).cpu().numpy()
        return SpanPredictions(
            example_ids=batch["example_ids"].cpu().numpy(),
            spans=Ragged(spans[exists].int().cpu().numpy(), lengths),
            scores=Ragged(scores[exists].float().cpu().numpy(), lengths),
            no_answer_scores=chances.gather(2, first).sum(dim=(1, 2)).float().cpu().numpy(),
            **judged,
        )

    def _losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """[B]; 0 where the label is ignored."""
        scores = _masked(outputs, batch).transpose(1, 2)  # [B, L, 2]: each end is a choice between tokens
        return F.cross_entropy(scores, batch["labels"], ignore_index=IGNORED, reduction="none").mean(dim=1)

    def _best(self, chances: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Characters [B, K, 2] and scores [B, K] of the best spans, and which of them are any.

        In the order of the text, not by score, so that a difference in the last bit moves none of them.
        """
        starts, ends = chances.masked_fill((batch["starts"] < 0)[:, None, :], -torch.inf).unbind(dim=1)
        reach = min(self.max_answer_length, starts.shape[1])
        # [B, L, A]: a span from each token to each of the next A.
        together = starts[:, :, None] + F.pad(ends, (0, reach - 1), value=-torch.inf).unfold(1, reach, 1)
        flat = together.flatten(1)
        scores, indices = flat.topk(min(self.n_best, flat.shape[1]), dim=1)
        indices, order = indices.sort(dim=1)
        scores = scores.gather(1, order)
        first = indices // reach
        last = (first + indices % reach).clamp(max=starts.shape[1] - 1)
        spans = torch.stack([batch["starts"].gather(1, first), batch["ends"].gather(1, last)], dim=2)
        return spans, scores, scores.isfinite()

    def assemble(self, predictions: SpanPredictions, rows: Any) -> AnswerResults:
        """The best answer of each row over its windows, which come in the order of their ids.

        No answer is given where it is likelier than the best span by more than the threshold; None: never.
        """
        row_ids, firsts = windows.rows_of_windows(predictions.example_ids)
        order, contexts = positions_of(row_ids, rows), rows[self.context_column][:]
        texts = [str(contexts[row] or "") for row in order]
        spans, scores = predictions.spans.joined(firsts), predictions.scores.joined(firsts)
        ranked = [
            best_spans(text, row_spans, row_scores)[: self.n_best]
            for text, row_spans, row_scores in zip(texts, spans.rows(), scores.rows(), strict=True)
        ]
        best = [text[slice(*row[0][0])] if row else "" for text, row in zip(texts, ranked, strict=True)]
        results = AnswerResults(
            example_ids=row_ids,
            predicted=np.fromiter(best, dtype=object),
            spans=Ragged.of([[span for span, _ in row] for row in ranked], dtype=np.int64, width=2),
            scores=Ragged.of([[score for _, score in row] for row in ranked], dtype=np.float64),
            no_answer_scores=np.minimum.reduceat(predictions.no_answer_scores.astype(np.float64), firsts),
        )
        if self.threshold is not None:
            results.predicted[results.margins > self.threshold] = ""
        if (labels := self._answers(rows, split="evaluation")) is None:
            return results
        expected = [labels[row].texts for row in order]
        judged: dict[str, Any] = {}
        for name, judge in (("exact", text_exact_match), ("f1", text_f1)):
            pairs = zip(results.predicted.tolist(), expected, strict=True)
            values = [judge(text, wanted, rules=self.rules) for text, wanted in pairs]
            judged[name] = np.array(values, dtype=np.float64)
        return replace(
            results,
            expected=np.fromiter(expected, dtype=object),
            answerable=np.array([bool(texts) for texts in expected], dtype=bool),
            losses=windows.sums_of_windows(predictions.losses, firsts),
            loss_counts=windows.sums_of_windows(predictions.loss_counts, firsts),
            **judged,
        )

    def describe(
        self, predictions: AnswerResults, index: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The answer with its characters and probability, of the n best and no answer together."""
        results, may_lack = predictions, self.threshold is not None
        spans, scores = results.spans.row(index).tolist(), results.scores.row(index)
        none = float(results.no_answer_scores[index])
        considered = np.append(scores, none) if may_lack else scores
        shares = np.exp(considered - considered.max()) if len(considered) else considered
        shares = (shares / shares.sum()).tolist() if len(shares) else []
        predicted = str(results.predicted[index])
        described: dict[str, Any] = {"predicted": predicted, "start": None, "end": None, "score": None}
        if predicted:
            described["start"], described["end"] = spans[0]
        if predicted or may_lack:
            described["score"] = round(shares[0 if predicted else -1], 6)
        if may_lack:
            described["no_answer_margin"] = round(none - float(scores[0]), 6) if len(scores) else None
        if results.expected is not None and results.exact is not None and results.f1 is not None:
            described["expected"] = list(results.expected[index])
            described |= {"exact": float(results.exact[index]), "f1": round(float(results.f1[index]), 6)}
        if all_scores:
            context = str(row[self.context_column] or "")
            described["scores"] = [
                {"text": context[start:end], "start": start, "end": end, "score": round(share, 6)}
                for (start, end), share in zip(spans, shares, strict=False)
            ]
        return described


def best_spans(text: str, spans: np.ndarray, scores: np.ndarray) -> list[tuple[Span, float]]:
    """Different spans with their scores, trimmed, best first; of equals the first in the text."""
    best: dict[Span, float] = {}
    for (start, end), score in zip(spans.tolist(), scores.tolist(), strict=True):
        if text[start:end].strip():
            span = trimmed(text, start, end)
            best[span] = max(score, best.get(span, -np.inf))
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))


def _first_token(batch: Batch) -> Tensor:
    """[B] int64, where each row begins behind its padding."""
    return batch["attention_mask"].argmax(dim=1)


def _masked(outputs: Tensor, batch: Batch) -> Tensor:
    """[B, 2, L] without a chance for padding."""
    return outputs.masked_fill((batch["attention_mask"] == 0)[:, None, :], -torch.inf)
