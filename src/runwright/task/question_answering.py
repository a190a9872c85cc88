"""The answer to a question as a piece of a given text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from torch import Tensor

from runwright.errors import DataError
from runwright.predictions import Ragged
from runwright.task.answers.columns import (
    AnswerColumns,
    Answers,
    check_contexts,
    read_answers,
)
from runwright.task.answers.no_answer import curve_table, threshold_curve
from runwright.task.answers.results import AnswerResults, SpanPredictions, assemble_answers, describe_answer
from runwright.task.answers.tables import answer_table
from runwright.task.answers.windows import Encoded, windows_of
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.labels import missing_column
from runwright.task.text import IGNORED
from runwright.types import Batch, Example, Head, LossSum, NonNegativeInt, PositiveInt, Splits


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
        no_answer_threshold: float | Literal["tune"] | None,
        normalization: Literal["squad", "cmrc"],
    ) -> None:
        super().__init__(tokenizer, text_columns=(question_column, context_column), max_length=max_length)
        self.columns_of = AnswerColumns(
            question=question_column, context=context_column, answers=answers_column
        )
        self.misplaced: Literal["refuse", "mend"] = misplaced_answers
        self.overlap = overlap
        self.max_question_length = max_question_length
        self.max_answer_length = max_answer_length
        self.n_best = n_best
        self.tuned_option = "task.no_answer_threshold" if no_answer_threshold == "tune" else None
        # Until it is tuned, whatever is likelier.
        self.threshold = 0.0 if isinstance(no_answer_threshold, str) else no_answer_threshold
        self.rules: Literal["squad", "cmrc"] = normalization

    def fit(self, splits: Splits) -> None:
        """Check every context and answer; raises DataError naming split, row and column."""
        if "train" in splits and self.columns_of.answers not in splits["train"].column_names:
            raise missing_column(splits["train"], self.columns_of.answers, option="task.answers_column")
        for split, rows in splits.items():
            check_contexts(rows, self.columns_of, split=split)
            self._answers(rows, split=split)

    def state_dict(self) -> dict[str, Any]:
        return {"no_answer_threshold": self.threshold}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.threshold = state["no_answer_threshold"]

    def tune(self, predictions: SpanPredictions, rows: Any) -> None:
        """Take the threshold with the best F1 over these rows."""
        curve = threshold_curve(self.assemble(predictions, rows))
        if curve is not None:
            self.threshold = float(curve.thresholds[curve.best])

    @property
    def head(self) -> Head:
        """A score of the first and of the last token."""
        return Head(auto_class=self.auto_class, num_labels=2, label_names=(), problem_type=None)

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """`row_id`, question, context, and where there are answers `from` and `to`, its characters."""
        answers = self._answers(rows, split=split)
        inputs = super().inputs_of(rows, split=split)
        if answers is not None:
            for name, ends in zip(
                ("from", "to"), zip(*(each.span for each in answers), strict=True), strict=True
            ):
                inputs = inputs.add_column(name, list(ends))  # pyright: ignore
        return inputs

    def _answers(self, rows: Any, *, split: str) -> list[Answers] | None:
        may_lack = self.threshold is not None
        return read_answers(rows, self.columns_of, split=split, may_lack=may_lack, misplaced=self.misplaced)

    # --- row -> example -> batch ----------------------------------------------------------------------

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each window of each row, see `windows_of`."""
        texts = [["" if text is None else str(text) for text in columns[name]] for name in self.text_columns]
        encoded = self.tokenizer(
            *texts, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        spans = list(zip(columns["from"], columns["to"], strict=True)) if "from" in columns else None
        examples: list[Example] = []
        for place, row_id in enumerate(columns["row_id"]):
            if not encoded["input_ids"][place]:
                problem = "neither the question nor the context makes a token; drop such rows"
                raise DataError(problem, row=place, column=self.text_columns[1])
            types = encoded["token_type_ids"][place] if "token_type_ids" in encoded else None
            whole = Encoded(
                ids=encoded["input_ids"][place],
                parts=encoded.sequence_ids(place),
                offsets=[tuple(pair) for pair in encoded["offset_mapping"][place]],
                types=types,
            )
            examples += windows_of(
                row_id,
                whole,
                answer=None if spans is None else spans[place],
                max_length=self.max_length,
                overlap=self.overlap,
                max_question_length=self.max_question_length,
            )
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """With `labels` [B, 2], the first and the last token of each answer, where there are some."""
        batch = super().collate(examples)
        if "start" in examples[0]:
            labels = torch.tensor([[example["start"], example["end"]] for example in examples])
            shift = _first_token(batch)[:, None]
            batch["labels"] = torch.where(labels == IGNORED, labels, labels + shift)
        return batch

    # --- logits -> loss, predictions ------------------------------------------------------------------

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
        losses = self._losses(outputs, batch)
        return LossSum(total=losses.sum(), count=float((batch["labels"][:, 0] != IGNORED).sum()))

    def predictions(self, outputs: Tensor, batch: Batch) -> SpanPredictions:
        """The best spans of each window, by the log-probabilities of both ends together."""
        chances = _masked(outputs, batch).log_softmax(dim=-1)
        spans, scores, there = self._best(chances, batch)
        first = _first_token(batch)[:, None, None].expand(-1, 2, 1)
        losses = counts = None
        if "labels" in batch:
            losses = self._losses(outputs, batch).double().cpu().numpy()
            counts = (batch["labels"][:, 0] != IGNORED).double().cpu().numpy()
        lengths = there.sum(dim=1).cpu().numpy()
        return SpanPredictions(
            example_ids=batch["example_ids"].cpu().numpy(),
            spans=Ragged(spans[there].int().cpu().numpy(), lengths),
            scores=Ragged(scores[there].float().cpu().numpy(), lengths),
            no_answer_scores=chances.gather(2, first).sum(dim=(1, 2)).float().cpu().numpy(),
            losses=losses,
            loss_counts=counts,
        )

    def _losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """[B]; 0 where the label is ignored."""
        scores = _masked(outputs, batch).transpose(1, 2)  # [B, L, 2]: each end is a choice between tokens
        each = F.cross_entropy(scores, batch["labels"], ignore_index=IGNORED, reduction="none")
        return each.mean(dim=1)

    def _best(self, chances: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Characters [B, K, 2] and scores [B, K] of the best spans, and which of them are any.

        In the order of the text, not by score, so that a difference in the last bit moves none of them.
        """
        outside = (batch["starts"] < 0)[:, None, :]
        starts, ends = chances.masked_fill(outside, -torch.inf).unbind(dim=1)
        reach = min(self.max_answer_length, starts.shape[1])
        # [B, L, A]: a span from each token to each of the next A.
        together = starts[:, :, None] + F.pad(ends, (0, reach - 1), value=-torch.inf).unfold(1, reach, 1)
        flat = together.flatten(1)
        scores, places = flat.topk(min(self.n_best, flat.shape[1]), dim=1)
        places, order = places.sort(dim=1)
        scores = scores.gather(1, order)
        first = places // reach
        last = (first + places % reach).clamp(max=starts.shape[1] - 1)
        spans = torch.stack([batch["starts"].gather(1, first), batch["ends"].gather(1, last)], dim=2)
        return spans, scores, scores.isfinite()

    # --- predictions -> results -----------------------------------------------------------------------

    def assemble(self, predictions: SpanPredictions, rows: Any) -> AnswerResults:
        """The best answer of each row over its windows, judged where there are answers."""
        return assemble_answers(
            predictions, rows, context_column=self.columns_of.context,
            answers=self._answers(rows, split="evaluation"),
            n_best=self.n_best, threshold=self.threshold, rules=self.rules,
        )  # fmt: skip

    def describe(
        self, predictions: AnswerResults, place: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The answer with its characters and probability; with all scores the n best."""
        context = str(row[self.columns_of.context] or "")
        return describe_answer(
            predictions, place, context=context, threshold=self.threshold, all_scores=all_scores
        )

    def tables(self, predictions: AnswerResults) -> dict[str, list[dict[str, Any]]]:
        """`answers`: metrics by kind of question; `no_answer`: metrics at every threshold."""
        if not predictions.labelled:
            return {}
        found = {"answers": answer_table(predictions)}
        curve = threshold_curve(predictions) if self.threshold is not None else None
        if curve is not None and self.threshold is not None:
            answered = float((predictions.margins <= self.threshold).mean())
            found["no_answer"] = curve_table(curve, answered=answered)
        return found


def _first_token(batch: Batch) -> Tensor:
    """[B] int64, where each row begins behind its padding."""
    return batch["attention_mask"].argmax(dim=1)


def _masked(outputs: Tensor, batch: Batch) -> Tensor:
    """[B, 2, L] without a chance for padding."""
    return outputs.masked_fill((batch["attention_mask"] == 0)[:, None, :], -torch.inf)
