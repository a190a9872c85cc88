"""Classes or a number for a text or a pair of texts: single-label, multi-label and regression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from datasets import Dataset
from torch import Tensor

from runwright.errors import DataError, did_you_mean, listed
from runwright.task.describing import describe_labels
from runwright.task.labels import (
    LabelEncoder,
    bias_of_labels,
    check_label_names,
    given_names,
    is_missing,
    learn_class_weights,
    names_from_values,
    number,
    split_labels,
)
from runwright.task.losses import loss_of_task
from runwright.task.objectives import PROBLEM_TYPES, Objective, Regression, as_predictions, make_objective
from runwright.task.text import encode_texts, pad_batch
from runwright.types import (
    Batch,
    Comparison,
    Example,
    Fraction,
    Head,
    LossSum,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Predictions,
    Splits,
)

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class SequenceClassification:
    """Encodes texts, sums losses with their denominator, and turns logits into predictions.

    `fit` must have seen the data, or `load_state_dict` a saved state, before anything is encoded.
    """

    prediction_type = Predictions
    predicts_rows = True

    def __init__(
        self,
        tokenizer: Any,
        *,
        problem: Literal["single_label", "multi_label", "regression"],
        text_column: str,
        text_pair_column: str | None,
        label_column: str,
        label_separator: str,
        label_names: list[str] | None,
        label_file: str | None,
        group_column: str | None,
        max_length: PositiveInt,
        label_smoothing: OpenFraction,
        class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None,
        threshold: Fraction,
        bias_from_labels: bool,
        loss: Any,
    ) -> None:
        self.tokenizer = tokenizer
        self.problem = problem
        self.text_columns = (text_column, text_pair_column) if text_pair_column else (text_column,)
        self.label_column = label_column
        self.label_separator = label_separator
        self.group_column = group_column
        self.max_length = max_length
        self.label_smoothing = label_smoothing
        self.threshold = threshold
        self.bias_from_labels = bias_from_labels
        self.initial_bias: tuple[float, ...] = ()
        self.class_weights_option: Any = class_weights
        self.given_names = given_names(label_names, label_file)
        self.label_names: tuple[str, ...] = ()
        self.group_names: tuple[str, ...] = ()
        self.class_weights: list[float] | None = None  # [C]
        self.own_loss = loss
        self.objective: Objective = Regression()

    # --- what only the data can tell ------------------------------------------------------------------

    def fit(self, splits: Splits) -> None:
        """Learn class names, group names and class weights; every label is checked here.

        Raises DataError naming split, row and column for a label that cannot be used.
        """
        train = splits["train"]
        if self.problem != "regression":
            self.label_names = self.given_names or self._names_from(train)
        labels = {name: self.read_labels(rows, split=name) for name, rows in splits.items()}
        if self.group_column:
            values = {str(value) for rows in splits.values() for value in rows[self.group_column]}
            self.group_names = tuple(sorted(values))
        if self.class_weights_option is not None and self.problem != "regression":
            self.class_weights = learn_class_weights(
                self.class_weights_option,
                labels["train"] or [],
                names=self.label_names,
                column=self.label_column,
            )
        if self.bias_from_labels:
            self.initial_bias = bias_of_labels(
                self.problem, labels["train"] or [], num_classes=len(self.label_names)
            )
        self.objective = self._make_objective()

    def state_dict(self) -> dict[str, Any]:
        """What was learned from the data, for JSON."""
        return {
            "label_names": list(self.label_names),
            "group_names": list(self.group_names),
            "class_weights": self.class_weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another instance learned."""
        self.label_names = tuple(state["label_names"])
        self.group_names = tuple(state["group_names"])
        self.class_weights = state["class_weights"]
        self.objective = self._make_objective()

    @property
    def head(self) -> Head:
        """What this task asks of a model."""
        return Head(
            auto_class="AutoModelForSequenceClassification",
            num_labels=len(self.label_names) if self.label_names else 1,
            label_names=self.label_names,
            problem_type=PROBLEM_TYPES[self.problem],
            initial_bias=self.initial_bias,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that every split must have; labels only matter where there are some."""
        return (*self.text_columns, *((self.group_column,) if self.group_column else ()))

    def read_labels(self, rows: Any, *, split: str) -> list[Any] | None:
        """Ids, lists of ids or floats, one a row; None where a split other than train has no labels."""
        if self.label_column not in rows.column_names:
            if split == "train":
                names = [name for name in rows.column_names if name != "row_id"]
                hint = did_you_mean(self.label_column, names) or "task.label_column names it"
                raise DataError(
                    f"no such column; there are {listed(names)}; {hint}",
                    split=split,
                    column=self.label_column,
                )
            return None
        values = rows[self.label_column][:]
        if split != "train" and all(is_missing(value) or value == -1 for value in values):
            return None  # hidden test labels, as GLUE publishes them
        encoder = LabelEncoder(self.label_names)
        return [
            self._read_label(value, encoder, {"split": split, "row": row, "column": self.label_column})
            for row, value in enumerate(values)
        ]

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """`row_id`, texts and group, and `labels` where there are some."""
        labels = self.read_labels(rows, split=split)
        names = [name for name in ("row_id", *self.columns) if name in rows.column_names]
        chosen = rows.select_columns(names)
        return chosen if labels is None else chosen.add_column("labels", labels)  # pyright: ignore

    def label_counts(self, rows: Dataset, *, split: str) -> list[int] | None:
        """How often each class occurs, [C]; None for numbers and where there are no labels."""
        labels = self.read_labels(rows, split=split) if self.label_names else None
        if labels is None:
            return None
        counts = Counter(i for label in labels for i in (label if isinstance(label, list) else [label]))
        return [counts[index] for index in range(len(self.label_names))]

    # --- row -> example -> batch ----------------------------------------------------------------------

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Examples of some rows given as columns with `row_id`, and `labels` where `read_labels` gave any.

        An example carries `full_length`, its tokens before truncation to `max_length`.
        """
        texts = [columns[column] for column in self.text_columns]
        examples = encode_texts(self.tokenizer, *texts, max_length=self.max_length)
        groups = {name: index for index, name in enumerate(self.group_names)}
        for i, example in enumerate(examples):
            if not example["input_ids"]:  # what a model makes of padding alone depends on how much there is
                problem = "the text makes no token; drop such rows (dataset.cleaning)"
                raise DataError(problem, row=i, column=self.text_columns[0])
            example["example_id"] = columns["row_id"][i]
            if "labels" in columns:
                example["labels"] = columns["labels"][i]
            if self.group_column and self.group_column in columns:
                # -1: a group that the training data did not have
                example["group"] = groups.get(str(columns[self.group_column][i]), -1)
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`input_ids`, `attention_mask` and perhaps `token_type_ids` [B, L] int64, `example_ids` [B].

        `labels`: [B] int64, [B, C] float32 (multi-label) or [B] float64 (regression), where known.
        """
        batch = pad_batch(
            examples, pad_token_id=self.tokenizer.pad_token_id, side=self.tokenizer.padding_side
        )
        if "labels" in examples[0]:
            batch["labels"] = self.objective.tensor([example["labels"] for example in examples])
        return batch

    # --- logits -> loss, predictions ------------------------------------------------------------------

    def count(self, examples: Sequence[Example]) -> float:
        """Number of examples; with class weights of a single-label problem the sum of their weights."""
        return self.objective.count([example["labels"] for example in examples])

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """Logits [B, C] in float32 or float64; C is 1 for regression."""
        logits = model(**{name: batch[name] for name in MODEL_INPUTS if name in batch}).logits
        return logits if logits.element_size() == 8 else logits.float()

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over the examples of what is trained on, with smoothing and weights."""
        return self.objective.loss(outputs, batch["labels"])

    def predictions(self, outputs: Tensor, batch: Batch) -> Predictions:
        """What is predicted, with the plain loss of each example."""
        return as_predictions(self.objective.predict(outputs, batch.get("labels")), batch)

    def assemble(self, predictions: Predictions, rows: Any) -> Predictions:  # noqa: ARG002 - the contract
        """A row is an example already."""
        return predictions

    def comparison(self, predictions: Predictions) -> Comparison | None:
        """Classes, sets of classes or numbers, one a row."""
        if predictions.expected is None:
            return None
        return Comparison(
            predicted=predictions.predicted,
            expected=predictions.expected,
            labels=self.label_names,
            groups=predictions.groups,
        )

    def tables(self, predictions: Predictions) -> dict[str, list[dict[str, Any]]]:  # noqa: ARG002
        """None but those that every comparison of classes has."""
        return {}

    def describe(
        self,
        predictions: Predictions,
        place: int,
        *,
        row: Mapping[str, Any],  # noqa: ARG002 - the contract
        all_scores: bool,
    ) -> dict[str, Any]:
        """Names and probabilities of the predicted classes, or the number."""
        return describe_labels(
            predictions, place, problem=self.problem, label_names=self.label_names, all_scores=all_scores
        )

    def _names_from(self, train: Any) -> tuple[str, ...]:
        if self.label_column not in train.column_names:
            self.read_labels(train, split="train")  # raises with the columns that there are
        feature = train.features[self.label_column]
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            return check_label_names(names, where=f"dataset column {self.label_column!r}")
        values = train[self.label_column][:]
        if self.problem == "multi_label":
            values = [label for value in values for label in split_labels(value, self.label_separator)]
        return names_from_values(values, split="train", column=self.label_column)

    def _read_label(self, value: Any, encoder: LabelEncoder, place: dict[str, Any]) -> Any:
        if self.problem == "regression":
            return number(value, **place)
        if self.problem == "single_label":
            return encoder.encode(value, **place)
        return sorted({encoder.encode(label, **place) for label in split_labels(value, self.label_separator)})

    def _make_objective(self) -> Objective:
        return make_objective(
            self.problem,
            num_labels=len(self.label_names),
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            threshold=self.threshold,
            own_loss=loss_of_task(self.own_loss, self.label_names),
        )
