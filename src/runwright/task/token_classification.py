"""A tag for each word of a text: names, parts of speech, chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from torch import Tensor

from runwright.predictions import Ragged
from runwright.task.base import Task
from runwright.task.labels import learn_class_weights
from runwright.task.losses import loss_of_task
from runwright.task.objectives import SingleLabel
from runwright.task.tags.columns import TagColumns, learn_tags, read_tags, words_of_rows
from runwright.task.tags.results import PiecePredictions, TagResults, assemble_rows
from runwright.task.tags.spans import TagSet
from runwright.task.tags.tables import describe_spans, type_table
from runwright.task.text import IGNORED
from runwright.task.windows import cut_windows, special_tokens, window_id
from runwright.task.words import word_of_pieces
from runwright.types import (
    Batch,
    Comparison,
    Example,
    LossSum,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Splits,
)


class TokenClassification(Task):
    """Encodes words in windows, sums losses over tagged pieces, and turns scores into tags and spans.

    A row without a column of words may have a text, which is split at spaces and punctuation. Long rows are
    cut into windows that overlap; each piece is trained on and judged in one of them.
    """

    problem = "tags"
    auto_class = "AutoModelForTokenClassification"
    prediction_type = PiecePredictions
    token_fields: ClassVar = {"words": -1, "starts": 0, "ends": 0, "labels": IGNORED}
    learned = ("label_names", "class_weights")
    cuts_windows = True
    class_weights: tuple[float, ...] | None = None  # [C]

    def __init__(
        self,
        tokenizer: Any,
        *,
        words_column: str,
        text_column: str,
        tags_column: str,
        tag_names: list[str] | None,
        scheme: Literal["bio", "bioes", "plain"],
        repair: bool,
        train_on: Literal["first", "all"],
        aggregation: Literal["none", "simple", "first", "average", "max"],
        max_length: PositiveInt,
        overlap: int,
        label_smoothing: OpenFraction,
        class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None,
        loss: Any,
    ) -> None:
        super().__init__(tokenizer, text_columns=(text_column,), max_length=max_length)
        self.words_column = words_column
        self.columns_of = TagColumns(words=words_column, text=text_column, tags=tags_column)
        self.given_names = tuple(tag_names or ())
        self.scheme: Literal["bio", "bioes", "plain"] = scheme
        self.repair = repair
        self.train_on = train_on
        self.aggregation = aggregation
        self.overlap = overlap
        self.label_smoothing = label_smoothing
        self.given_weights: Any = class_weights
        self.own_loss = loss
        self.objective = SingleLabel(label_smoothing=label_smoothing, class_weights=None)

    def fit(self, splits: Splits) -> None:
        """Learn tags and weights; every tag is checked."""
        self.label_names = self.given_names or learn_tags(splits["train"], self.columns_of, self.scheme)
        tags = {split: self.read_labels(rows, split=split) for split, rows in splits.items()}
        if self.given_weights is not None:
            self.class_weights = learn_class_weights(
                self.given_weights, tags["train"] or [], names=self.label_names,
                column=self.columns_of.tags, may_lack=True,
            )  # fmt: skip
        self._make_objective()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._make_objective()

    def _make_objective(self) -> None:
        self.objective = SingleLabel(
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            own_loss=loss_of_task(self.own_loss, self.label_names),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.columns_of.words,)

    @property
    def tag_set(self) -> TagSet:
        return TagSet(names=self.label_names, scheme=self.scheme, repair=self.repair)

    def read_labels(self, rows: Dataset, *, split: str) -> list[list[int]] | None:
        return read_tags(rows, self.columns_of, self.label_names, split=split)

    # --- row -> example -> batch ----------------------------------------------------------------------

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each window of each row.

        `words`, `starts` and `ends` hold for each position the word in the row and its characters; the word
        is -1 where the window does not speak for the position. `labels` is -100 where there is no loss.
        """
        texts, spans = words_of_rows(columns, self.columns_of)
        encoded = self.tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False,
            verbose=False,
        )  # fmt: skip
        examples: list[Example] = []
        for place, row_id in enumerate(columns["row_id"]):
            ids, offsets = encoded["input_ids"][place], encoded["offset_mapping"][place]
            words = word_of_pieces(offsets, spans[place])
            fields = {
                "input_ids": ids,
                "words": words,
                "starts": [start for start, _ in offsets],
                "ends": [end for _, end in offsets],
            }
            if "labels" in columns:
                fields["labels"] = self._labels(words, columns["labels"][place])
            examples += self._windows(row_id, fields)
        return examples

    def _labels(self, words: Sequence[int], tags: Sequence[int]) -> list[int]:
        """The tag of each piece's word; only on the first piece of a word, or on all."""
        labels, before = [], -1
        for word in words:
            skipped = word < 0 or (self.train_on == "first" and word == before)
            labels.append(IGNORED if skipped else tags[word])
            before = word
        return labels

    def _windows(self, row_id: int, fields: Mapping[str, list[int]]) -> list[Example]:
        """The fields of a row cut into windows, with special tokens around each."""
        prefix, suffix = special_tokens(self.tokenizer)
        num_pieces, num_special = len(fields["input_ids"]), len(prefix) + len(suffix)
        size = max(2, self.max_length - num_special)
        examples: list[Example] = []
        cuts = cut_windows(num_pieces, size=size, overlap=min(self.overlap, size - 1))
        for number, cut in enumerate(cuts):
            example: Example = {
                "example_id": window_id(row_id, number),
                "full_length": num_pieces + num_special,
                "input_ids": [*prefix, *fields["input_ids"][cut.start : cut.end], *suffix],
            }
            for name, fill in self.token_fields.items():
                if name not in fields:
                    continue
                values = fields[name][cut.start : cut.end]
                if name in ("words", "labels"):  # of the pieces that the window speaks for
                    own = range(cut.own_start - cut.start, cut.own_end - cut.start)
                    values = [value if place in own else fill for place, value in enumerate(values)]
                example[name] = [*[fill] * len(prefix), *values, *[fill] * len(suffix)]
            examples.append(example)
        return examples

    # --- logits -> loss, predictions ------------------------------------------------------------------

    def count(self, examples: Sequence[Example]) -> float:
        """Number of pieces with a tag, or the sum of the weights of their tags."""
        return self.objective.count([label for example in examples for label in example["labels"]])

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over pieces with a tag, in nats, from logits [B, L, C]."""
        return self.objective.loss(outputs.flatten(0, 1), batch["labels"].flatten())

    def predictions(self, outputs: Tensor, batch: Batch) -> PiecePredictions:
        """Probabilities of the pieces that each window speaks for."""
        own = batch["words"] >= 0
        lengths = own.sum(dim=1).cpu().numpy()
        pieces = torch.stack([batch[name][own] for name in ("words", "starts", "ends")], dim=1)
        losses = counts = None
        if "labels" in batch:
            each = F.cross_entropy(
                outputs.transpose(1, 2), batch["labels"], ignore_index=IGNORED, reduction="none"
            )
            losses = each.double().sum(dim=1).cpu().numpy()
            counts = (batch["labels"] != IGNORED).double().sum(dim=1).cpu().numpy()
        return PiecePredictions(
            example_ids=batch["example_ids"].cpu().numpy(),
            pieces=Ragged(pieces.int().cpu().numpy(), lengths),
            scores=Ragged(outputs[own].softmax(dim=-1).float().cpu().numpy(), lengths),
            losses=losses,
            loss_counts=counts,
        )

    # --- predictions -> results -----------------------------------------------------------------------

    def assemble(self, predictions: PiecePredictions, rows: Any) -> TagResults:
        """Tags of words and spans by row."""
        return assemble_rows(
            predictions, rows, columns=self.columns_of, tag_set=self.tag_set, aggregation=self.aggregation
        )

    def describe(
        self, predictions: TagResults, place: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The spans with type, text, characters and score; with all scores also the tag of each word."""
        return describe_spans(
            predictions, place, row=row, columns=self.columns_of, tag_set=self.tag_set,
            aggregation=self.aggregation, all_scores=all_scores,
        )  # fmt: skip

    def comparison(self, predictions: TagResults) -> Comparison | None:
        """The tags of all words."""
        if predictions.expected is None:
            return None
        predicted, expected = predictions.predicted.values, predictions.expected.values
        return Comparison(predicted=predicted, expected=expected, labels=self.label_names)

    def tables(self, predictions: TagResults) -> dict[str, list[dict[str, Any]]]:
        """`spans`: precision, recall and F1 of each type; `span_confusion`: what was taken for what."""
        return type_table(predictions, self.tag_set.types)
