"""Classes or a number for a text or a pair of texts: single-label, multi-label and regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from datasets import Dataset
from torch import Tensor

from runwright.task.base import Task
from runwright.task.labels import (
    LabelEncoder,
    bias_of_labels,
    check_label_names,
    is_missing,
    learn_class_weights,
    missing_column,
    names_from_options,
    names_from_values,
    read_number,
    split_labels,
)
from runwright.task.losses import MultiLabel, Objective, Regression, SingleLabel, loss_of_task
from runwright.task.text import encode_texts
from runwright.types import (
    Batch,
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

PROBLEM_TYPES = {  # transformers' names, stored in the saved model
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


class SequenceClassification(Task):
    """Single-label, multi-label or regression targets for one text or a pair of texts."""

    auto_class = "AutoModelForSequenceClassification"
    learned = ("label_names", "group_names", "class_weights")
    class_weights: tuple[float, ...] | None = None  # [C]
    initial_bias: tuple[float, ...] = ()
    objective: Objective

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
        texts = (text_column, text_pair_column) if text_pair_column else (text_column,)
        super().__init__(tokenizer, text_columns=texts, max_length=max_length)
        self.columns = (*texts, group_column) if group_column else texts
        self.problem = problem
        self.label_column = label_column
        self.label_separator = label_separator
        self.names_option = names_from_options(label_names, label_file)
        self.group_column = group_column
        self.label_smoothing = label_smoothing
        self.weights_option: Any = class_weights if problem != "regression" else None
        self.threshold = threshold
        self.bias_from_labels = bias_from_labels
        self.loss_option = loss

    def fit(self, splits: Splits) -> None:
        """Learn class names, group names, class weights and a bias; every label is checked."""
        if self.problem != "regression":
            self.label_names = self.names_option or self._names_from(splits["train"])
        labels = {name: self.read_labels(rows, split=name) for name, rows in splits.items()}["train"] or []
        if self.group_column:
            values = {str(value) for rows in splits.values() for value in rows[self.group_column]}
            self.group_names = tuple(sorted(values))
        self.class_weights = learn_class_weights(
            self.weights_option,
            labels,
            names=self.label_names,
            column=self.label_column,
            problem=self.problem,
        )
        if self.bias_from_labels:
            self.initial_bias = bias_of_labels(self.problem, labels, num_classes=len(self.label_names))
        self.use_learned()

    def use_learned(self) -> None:
        """Make the objective of this problem."""
        loss = loss_of_task(self.loss_option, self.label_names)
        if self.problem == "regression":
            self.objective = Regression(loss_function=loss)
            return
        make: Any = SingleLabel
        if self.problem == "multi_label":
            make = partial(MultiLabel, num_labels=len(self.label_names), threshold=self.threshold)
        self.objective = make(
            label_smoothing=self.label_smoothing, class_weights=self.class_weights, loss_function=loss
        )

    @property
    def head(self) -> Head:
        return replace(
            super().head,
            num_labels=len(self.label_names) or 1,
            problem_type=PROBLEM_TYPES[self.problem],
            initial_bias=self.initial_bias,
        )

    def _values(self, rows: Dataset, *, split: str) -> list[Any] | None:
        if self.label_column in rows.column_names:
            return rows[self.label_column][:]
        if split == "train":
            raise missing_column(rows, self.label_column, option="task.label_column")
        return None

    def _names_from(self, train: Dataset) -> tuple[str, ...]:
        values = self._values(train, split="train") or []
        feature = train.features[self.label_column]
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            return check_label_names(names, where=f"dataset column {self.label_column!r}")
        if self.problem == "multi_label":
            values = [label for value in values for label in split_labels(value, self.label_separator)]
        return names_from_values(values, split="train", column=self.label_column)

    def read_labels(self, rows: Dataset, *, split: str) -> list[Any] | None:
        """Class ids, lists of them or floats; None where a split other than train has no labels."""
        values = self._values(rows, split=split)
        if values is None or (split != "train" and all(is_missing(value) or value == -1 for value in values)):
            return None  # hidden test labels, as GLUE publishes them
        encoder = LabelEncoder(self.label_names)
        labels: list[Any] = []
        for row, value in enumerate(values):
            where: dict[str, Any] = {"split": split, "row": row, "column": self.label_column}
            if self.problem == "regression":
                labels.append(read_number(value, **where))
            elif self.problem == "single_label":
                labels.append(encoder.encode(value, **where))
            else:
                names = split_labels(value, self.label_separator)
                labels.append(sorted({encoder.encode(name, **where) for name in names}))
        return labels

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each row, with `labels` and `group` where the columns have them."""
        texts = {name: columns[name] for name in self.text_columns}
        examples = encode_texts(self.tokenizer, texts, max_length=self.max_length)
        groups = {name: index for index, name in enumerate(self.group_names)}
        for row, example in enumerate(examples):
            example["example_id"] = columns["row_id"][row]
            if "labels" in columns:
                example["labels"] = columns["labels"][row]
            if self.group_column and self.group_column in columns:
                # -1: a group that the training data did not have
                example["group"] = groups.get(str(columns[self.group_column][row]), -1)
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """With `labels`: [B] int64, [B, C] float32 (multi-label) or [B] float64 (regression)."""
        batch = super().collate(examples)
        if "labels" in examples[0]:
            batch["labels"] = self.objective.tensor([example["labels"] for example in examples])
        return batch

    def count(self, examples: Sequence[Example]) -> float:
        """Number of examples; with class weights of a single-label problem the sum of their weights."""
        return self.objective.count([example["labels"] for example in examples])

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        return self.objective.loss(outputs, batch["labels"])

    def predictions(self, outputs: Tensor, batch: Batch) -> Predictions:
        """Predictions from logits [B, C], with the plain loss of each example; floats in float64."""
        columns = self.objective.predict(outputs, batch.get("labels"))
        columns |= {"example_ids": batch["example_ids"], "groups": batch.get("groups")}
        return Predictions(**{name: _numpy(column) for name, column in columns.items()})


def _numpy(tensor: Tensor | None) -> Any:
    if tensor is None:
        return None
    return (tensor.double() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
