"""Classes or a number for a text or a pair of texts: single-label, multi-label and regression."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from datasets import ClassLabel, Dataset
from torch import Tensor

from runwright import types
from runwright.dataset.checks import has_column
from runwright.dataset.fingerprint import distinct_values
from runwright.errors import DataError
from runwright.task import labels
from runwright.task.base import Task
from runwright.task.losses import MultiLabel, Objective, Regression, SingleLabel, loss_of_task
from runwright.task.text import encode_texts
from runwright.types import Batch, Example, Fraction, OpenFraction, PositiveFloat, PositiveInt, Splits


class SequenceClassification(Task):
    """Single-label, multi-label or regression targets for one text or a pair of texts."""

    auto_class = "AutoModelForSequenceClassification"
    learned = ("label_names", "group_names", "class_weights", "label_form", "names_ordered")
    names_ordered = True  # the class names were given in the order of ids
    label_form: Literal["", "vector", "signed"] = ""  # vector: 0 or 1 for each class; signed: below 0 too
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
        label_column: str | list[str],
        label_separator: str,
        label_names: list[str] | None,
        label_file: str | None,
        positive_label: str | None,
        group_column: str | None,
        max_length: PositiveInt,
        label_smoothing: OpenFraction,
        class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None,
        threshold: Fraction,
        bias_from_labels: bool,
    ) -> None:
        texts = (text_column, text_pair_column) if text_pair_column else (text_column,)
        super().__init__(tokenizer, text_columns=texts, max_length=max_length)
        self.columns = (*texts, group_column) if group_column else texts
        self.problem = problem
        self.label_columns = (label_column,) if isinstance(label_column, str) else tuple(label_column)
        self.label_column = ", ".join(self.label_columns)  # one that is no column where there are several
        self.label_separator = label_separator
        self.names_option = labels.names_from_options(label_names, label_file)
        if len(self.label_columns) > 1:
            self.names_option = self.names_option or self.label_columns
        self.positive_label = positive_label
        self.group_column = group_column
        self.label_smoothing = label_smoothing
        self.weights_option: Any = class_weights if problem != "regression" else None
        self.threshold = threshold
        self.bias_from_labels = bias_from_labels

    def fit(self, splits: Splits) -> None:
        """Learn class names, group names, class weights and a bias; every label is checked."""
        values, _ = self._values(splits["train"], split="train") or ([], None)
        self.label_form = self._form_of(splits["train"], values)
        if self.problem != "regression":
            carried = labels.names_in(splits["train"].features.get(self.label_column))
            self.names_ordered = bool(self.names_option or carried)
            if carried and not self.names_option:
                labels.check_label_names(carried, where=f"dataset column {self.label_column!r}")
            names = chain.from_iterable(self._sets(values)) if self.problem == "multi_label" else values
            where: Any = {"split": "train", "column": self.label_column}
            names = self.names_option or carried or labels.names_from_values(names, **where)
            self.label_names = tuple(map(labels.label_name, names))
        targets = {name: self.read_labels(rows, split=name) for name, rows in splits.items()}["train"] or []
        if group := self.group_column:
            values = {str(value) for rows in splits.values() for value in distinct_values(rows, group)[0]}
            self.group_names = tuple(sorted(values))
        options = {"names": self.label_names, "column": self.label_column, "problem": self.problem}
        self.class_weights = labels.learn_class_weights(self.weights_option, targets, **options)
        if self.bias_from_labels:
            num_classes = len(self.label_names)
            self.initial_bias = labels.bias_of_labels(self.problem, targets, num_classes=num_classes)
        self.use_learned()

    def use_learned(self) -> None:
        """Make the objective of this problem, and find the positive class."""
        self.positive = labels.positive_class(self.positive_label, self.label_names)
        loss = loss_of_task(self.loss_option)
        if self.problem == "regression":
            self.objective = Regression(loss_function=loss)
            return
        make: Any = SingleLabel
        if self.problem == "multi_label":
            make = partial(MultiLabel, num_labels=len(self.label_names), threshold=self.threshold)
        smoothing, weights = self.label_smoothing, self.class_weights
        self.objective = make(label_smoothing=smoothing, class_weights=weights, loss_function=loss)

    @property
    def head(self) -> types.Head:
        return replace(
            super().head,
            num_labels=len(self.label_names) or 1,
            problem_type="regression" if self.problem == "regression" else f"{self.problem}_classification",
            initial_bias=self.initial_bias,
        )

    def _values(self, rows: Dataset, *, split: str) -> tuple[list[Any], np.ndarray] | None:
        """Labels as in the data, of several columns lists; see `distinct_values`."""
        option = "task.label_column"
        if not all(has_column(rows, name, split=split, option=option) for name in self.label_columns):
            return None
        columns = [self._column(rows, name) for name in self.label_columns]
        if len(columns) > 1:
            whole = [[values[number] for number in numbers] for values, numbers in columns]
            return list(map(list, zip(*whole, strict=True))), np.arange(len(rows))
        values, numbers = columns[0]
        if self.problem == "single_label":  # also in a list of one
            values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
        return values, numbers

    def _column(self, rows: Dataset, name: str) -> tuple[list[Any], np.ndarray]:
        """The values of a column, ids as the names that it carries: other splits may have another order."""
        (values, numbers), feature = distinct_values(rows, name), rows.features[name]
        names = {} if self.names_option else dict(enumerate(labels.names_in(feature)))
        if not names or isinstance(feature, ClassLabel):
            return [names.get(value, value) for value in values] if names else values, numbers
        return [value and [names.get(label, label) for label in value] for value in values], numbers

    def _sets(self, values: Sequence[Any]) -> list[list[Any]]:
        return [labels.split_labels(value, self.label_separator) for value in values]

    def _form_of(self, train: Dataset, values: Sequence[Any]) -> Literal["", "vector", "signed"]:
        """The form of the labels, which all of train together tell and a single one does not."""
        if self.problem == "regression":
            return "signed" if any(labels.as_number(value) < 0 for value in values) else ""
        carried = labels.names_in(train.features.get(self.label_column))
        are_sets = self.problem == "multi_label" and not carried
        width, num_names = labels.vector_width(self._sets(values)) if are_sets else 0, len(self.names_option)
        if width and width != num_names:
            problem = f"each row has {width} numbers, 0 or 1, one for each class; given {num_names} names of "
            problem += f"classes, expected {width} in their order: task.label_names=[…]"
            raise DataError(problem, split="train", column=self.label_column)
        text = labels.vector_text(values) if are_sets and not width else None
        if text and not {*map(labels.label_name, values)} <= {"", *self.names_option}:
            problem = f"{text!r} reads as a 0 or 1 for each class: write lists such as [1, 0, 1], or set "
            problem += "task.label_separator, and task.label_names=[…], the names in their order"
            raise DataError(problem, split="train", column=self.label_column)
        return "vector" if width or len(self.label_columns) > 1 else ""

    def label_notes(self, splits: Splits) -> list[str]:
        notes = labels.doubtful_names(self.label_names)
        classes = () if self.problem == "regression" or self.label_form == "vector" else self.label_columns
        features = {name: kind for rows in splits.values() for name, kind in rows.features.items()}
        for name in filter(None, (*classes, self.group_column)):
            if "float" in str(getattr(features.get(name), "dtype", "")):
                same = f"{name!r} is read as decimal numbers: 1.1 and 1.10, 10 and 10.0 are the same"
                notes.append(f"{same}; of CSV ++dataset.source.column_types.{name}=string keeps them apart")
        for split, rows in splits.items():
            values = self._values(rows, split=split) if split != "train" else None
            if values is not None and self._is_hidden(values[0]):
                notes.append(f"no row of {split} has a label (-1 is none here): it gets no metrics")
        return notes

    def _is_hidden(self, values: Sequence[Any]) -> bool:
        """Return True where no row has a label; -1 is one as a class, and where train has numbers below 0."""
        hidden = set() if self.label_form == "signed" or "-1" in self.label_names else {"-1"}
        return all(labels.is_missing(value) or labels.label_name(value) in hidden for value in values)

    def read_labels(self, rows: Dataset, *, split: str) -> list[Any] | None:
        """Class ids, lists of them or floats; None where a split other than train has no labels."""
        values, numbers = self._values(rows, split=split) or (None, np.empty(0, int))
        if values is None or (split != "train" and self._is_hidden(values)):
            return None  # hidden test labels, as GLUE publishes them
        encoder = labels.LabelEncoder(self.label_names, ordered=self.names_ordered)

        def read_set(value: list[Any]) -> list[int]:
            if self.label_form == "vector":
                return labels.read_vector(value, len(self.label_names))
            ids = list(map(encoder.encode, value))
            if len({*ids}) < len(ids) and labels.vector_width([value]):
                problem = f"given {value}, a class twice; with 0 or 1 for each class all rows are as long"
                raise DataError(problem)
            return sorted({*ids})

        read = {"regression": labels.read_number, "single_label": encoder.encode}.get(self.problem, read_set)
        values = self._sets(values) if self.problem == "multi_label" else values
        return labels.read_all(values, read, numbers, split=split, column=self.label_column)

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

    def loss(self, outputs: Tensor, batch: Batch) -> types.LossSum:
        return self.objective.loss(outputs, batch["labels"])

    def predictions(self, outputs: Tensor, batch: Batch) -> types.Predictions:
        """Predictions from logits [B, C], with the plain loss of each example; floats in float64."""
        columns = self.objective.predict(outputs, batch.get("labels"))
        columns |= {"example_ids": batch["example_ids"], "groups": batch.get("groups")}
        arrays: dict[str, Any] = dict.fromkeys(columns)
        for name, column in [(name, column) for name, column in columns.items() if column is not None]:
            arrays[name] = (column.double() if column.is_floating_point() else column).detach().cpu().numpy()
        return types.Predictions(**arrays)
