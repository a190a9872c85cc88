"""A tag for each word of a text: names, parts of speech, chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from torch import Tensor

from runwright.predictions import Ragged
from runwright.task.labels import learn_tag_weights
from runwright.task.losses import loss_of_task
from runwright.task.objectives import IGNORED, SingleLabel
from runwright.task.tags.columns import TagColumns, learn_tags, read_tags, span_numbers, words_of_rows
from runwright.task.tags.results import PiecePredictions, TagResults, Units, assemble_rows
from runwright.task.tags.spans import find_spans
from runwright.task.tags.tables import describe_spans, type_table
from runwright.task.text import pad_batch, pad_rows
from runwright.task.windows import cut_windows, special_tokens, window_id
from runwright.task.words import word_of_pieces
from runwright.types import (
    Batch,
    Comparison,
    Example,
    Head,
    LossSum,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Splits,
)

MODEL_INPUTS = ("input_ids", "attention_mask")


class TokenClassification:
    """Encodes words in windows, sums losses over tagged pieces, and turns scores into tags and spans.

    A row without a column of words may have a text, which is split at spaces and punctuation. Long rows are
    cut into windows that overlap; each piece is trained on and judged in one of them.
    """

    problem = "tags"
    prediction_type = PiecePredictions
    predicts_rows = True
    cuts_windows = True

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
        self.tokenizer = tokenizer
        self.columns_of = TagColumns(words=words_column, text=text_column, tags=tags_column)
        self.given_names = tuple(tag_names or ())
        self.scheme: Literal["bio", "bioes", "plain"] = scheme
        self.repair = repair
        self.train_on = train_on
        self.aggregation = aggregation
        self.max_length = max_length
        self.overlap = overlap
        self.label_smoothing = label_smoothing
        self.class_weights_option: Any = class_weights
        self.class_weights: list[float] | None = None  # [C]
        self.own_loss = loss
        self.objective = SingleLabel(label_smoothing=label_smoothing, class_weights=None)
        self.label_names: tuple[str, ...] = ()
        self.group_names: tuple[str, ...] = ()
        self.text_columns = (text_column,)
        self.words_column = words_column
        self.label_column = None

    # --- what only the data can tell ------------------------------------------------------------------

    def fit(self, splits: Splits) -> None:
        """Learn tags and weights; every tag is checked. Raises DataError naming split, row and column."""
        self.label_names = self.given_names or learn_tags(splits["train"], self.columns_of, self.scheme)
        tags = {
            split: read_tags(rows, self.columns_of, self.label_names, split=split)
            for split, rows in splits.items()
        }
        if self.class_weights_option is not None:
            self.class_weights = learn_tag_weights(
                self.class_weights_option,
                tags["train"] or [],
                names=self.label_names,
                column=self.columns_of.tags,
            )
        self.objective = self._make_objective()

    def state_dict(self) -> dict[str, Any]:
        """What was learned from the data, for JSON."""
        return {"label_names": list(self.label_names), "class_weights": self.class_weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another instance learned."""
        self.label_names = tuple(state["label_names"])
        self.class_weights = state.get("class_weights")
        self.objective = self._make_objective()

    def _make_objective(self) -> SingleLabel:
        return SingleLabel(
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            own_loss=loss_of_task(self.own_loss, self.label_names),
        )

    @property
    def head(self) -> Head:
        """What this task asks of a model."""
        return Head(
            auto_class="AutoModelForTokenClassification",
            num_labels=len(self.label_names),
            label_names=self.label_names,
            problem_type=None,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of the words."""
        return (self.columns_of.words,)

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """`row_id`, words or text, and `labels`, the ids of the tags, where there are some."""
        labels = read_tags(rows, self.columns_of, self.label_names, split=split)
        wanted = ("row_id", self.columns_of.words, self.columns_of.text)
        chosen = rows.select_columns([name for name in wanted if name in rows.column_names])
        return chosen if labels is None else chosen.add_column("labels", labels)  # pyright: ignore

    def label_counts(self, rows: Dataset, *, split: str) -> list[int] | None:
        """How often each tag occurs, [C]."""
        labels = read_tags(rows, self.columns_of, self.label_names, split=split)
        if labels is None:
            return None
        flat = np.array([tag for row in labels for tag in row], dtype=np.int64)
        return np.bincount(flat, minlength=len(self.label_names)).tolist()

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
            offsets = [tuple(pair) for pair in encoded["offset_mapping"][place]]
            pieces = Units(
                ids=encoded["input_ids"][place],
                words=word_of_pieces(offsets, spans[place]),
                offsets=offsets,
            )
            tags = columns["labels"][place] if "labels" in columns else None
            examples += self._windows(row_id, pieces, tags)
        return examples

    def _windows(self, row_id: int, pieces: Units, tags: Sequence[int] | None) -> list[Example]:
        prefix, suffix = special_tokens(self.tokenizer)
        size = max(2, self.max_length - len(prefix) - len(suffix))
        full_length = len(pieces.ids) + len(prefix) + len(suffix)
        labels = None if tags is None else pieces.labels(tags, only_first=self.train_on == "first")
        examples: list[Example] = []
        cuts = cut_windows(len(pieces.ids), size=size, overlap=min(self.overlap, size - 1))
        for number, cut in enumerate(cuts):
            own = [cut.own_start <= place < cut.own_end for place in range(cut.start, cut.end)]
            inside = slice(cut.start, cut.end)

            def padded(values: Sequence[int], fill: int) -> list[int]:
                return [*[fill] * len(prefix), *values, *[fill] * len(suffix)]

            example: Example = {
                "example_id": window_id(row_id, number),
                "full_length": full_length,
                "input_ids": [*prefix, *pieces.ids[inside], *suffix],
                "words": padded([w if o else -1 for w, o in zip(pieces.words[inside], own, strict=True)], -1),
                "starts": padded([start for start, _ in pieces.offsets[inside]], 0),
                "ends": padded([end for _, end in pieces.offsets[inside]], 0),
            }
            if labels is not None:
                chosen = [t if o else IGNORED for t, o in zip(labels[inside], own, strict=True)]
                example["labels"] = padded(chosen, IGNORED)
            examples.append(example)
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`input_ids`, `attention_mask`, `words`, `starts`, `ends` [B, L] int64; perhaps `labels` [B, L]."""
        side = self.tokenizer.padding_side
        batch = pad_batch(examples, pad_token_id=self.tokenizer.pad_token_id, side=side)
        fills = {"words": -1, "starts": 0, "ends": 0, "labels": IGNORED}
        for name, fill in fills.items():
            if name in examples[0]:
                batch[name] = pad_rows([example[name] for example in examples], fill=fill, side=side)
        return batch

    # --- logits -> loss, predictions ------------------------------------------------------------------

    def count(self, examples: Sequence[Example]) -> float:
        """Number of pieces with a tag, or the sum of the weights of their tags."""
        return self.objective.count([label for example in examples for label in example["labels"]])

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """Logits [B, L, C] in float32 or float64."""
        logits = model(**{name: batch[name] for name in MODEL_INPUTS}).logits
        return logits if logits.element_size() == 8 else logits.float()

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over pieces with a tag of what is trained on, in nats."""
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
        names, scheme = self.label_names, self.scheme

        def numbered(tags: Sequence[int]) -> list[tuple[int, int, int]]:
            found = find_spans([names[tag] for tag in tags], scheme=scheme, repair=self.repair)
            return span_numbers(found, names, scheme)

        return assemble_rows(
            predictions,
            rows,
            columns=self.columns_of,
            label_names=names,
            aggregation=self.aggregation,
            to_spans=numbered,
        )

    def describe(
        self, predictions: TagResults, place: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The spans with type, text, characters and score; with all scores also the tag of each word."""
        return describe_spans(
            predictions,
            place,
            row=row,
            columns=self.columns_of,
            label_names=self.label_names,
            scheme=self.scheme,
            repair=self.repair,
            aggregation=self.aggregation,
            all_scores=all_scores,
        )

    def comparison(self, predictions: TagResults) -> Comparison | None:
        """The tags of all words."""
        if predictions.expected is None:
            return None
        predicted, expected = predictions.predicted.values, predictions.expected.values
        return Comparison(predicted=predicted, expected=expected, labels=self.label_names)

    def tables(self, predictions: TagResults) -> dict[str, list[dict[str, Any]]]:
        """`spans`: precision, recall and F1 of each type; `span_confusion`: what was taken for what."""
        return type_table(predictions, self.label_names, self.scheme)
