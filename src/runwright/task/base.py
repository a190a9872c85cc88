"""The base class of tasks: row to example, batch to loss, prediction to result."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from torch import Tensor

from runwright.errors import ConfigError
from runwright.predictions import Ragged
from runwright.task.labels import each_label
from runwright.task.losses import one_by_one
from runwright.task.text import pad_batch
from runwright.types import Batch, Example, Head, LossSum, Predictions, Splits

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Task:
    """Methods of a task, with defaults that suit most.

    A task has `problem`, `auto_class`, `encode`, `loss` and `predictions`, overrides what differs, and takes
    its options as keyword-only arguments. `fit` or `load_state_dict` is called before anything is encoded.
    """

    problem: str  # the kind of problem, which metrics name in `suits`
    auto_class: str  # transformers' class of models with the head
    # Roles of special tokens, of which the tokenizer must have one.
    needs_token: ClassVar[tuple[str, ...]] = ()
    prediction_type: type[Any] = Predictions  # of what `predictions` returns, see types.PerExample
    # Fields of examples with one number for each token, and the number that pads them.
    token_fields: ClassVar[Mapping[str, int]] = {}
    max_target_length = 0  # of what a decoder reads
    learned: ClassVar[tuple[str, ...]] = ()  # attributes that `fit` sets, kept as JSON beside the model

    notes: Sequence[str] = ()  # what `fit` found in the data that should be known
    label_names: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    positive = 1  # the class of two that metrics of one class are of
    label_column: Any = None  # where each row has one label
    label_separator: Any = None  # between the labels of a row, where they are one text
    optional_columns: tuple[str, ...] = ()  # of a record to predict, used where it has them
    words_column: str | None = None  # in which a record to predict may have words instead of the text
    threshold: Any = None  # from which a probability, or up to which a margin, is a prediction
    predicts_rows = True  # False: predictions are not of single rows, as in language modelling
    cuts_windows = False  # a long row becomes several inputs, and nothing of it is lost
    generates = False  # texts are predicted, by a strategy of the group `generation`
    strategy: Any = None  # of a task that generates, a `generation.strategies.Strategy`; None: losses alone
    embeds_texts = False  # each text of a row is an input of its own and makes a vector
    # Options of every task, see config.options.TaskOptions; `instantiate` sets them.
    loss_option: Any = None
    pad_to_option: int | Literal["maximum"] | None = None
    num_losses = 1  # each has a denominator of its own, and the sum of their means is trained on
    # The loss over the outputs [N, …] of a whole global batch, for losses that compare its examples with each
    # other, as in-batch negatives do; `loss` is not called then. It must not depend on their order.
    coupled_loss: Callable[[Tensor], LossSum] | None = None

    def __init__(self, tokenizer: Any, *, text_columns: Sequence[str], max_length: int) -> None:
        roles = self.needs_token
        if roles and all(getattr(tokenizer, f"{role}_token_id") is None for role in roles):
            raise ConfigError(
                f"tokenizer: it has no {' or '.join(roles)} token, which {type(self).__name__} needs; name "
                f"one of its own (tokenizer.special_tokens='{{{roles[0]}: \"TOKEN\"}}'), take another, or "
                "train one of another tokenizer.family"
            )
        self.tokenizer = tokenizer
        self.text_columns = tuple(text_columns)  # columns that a record to predict must have
        self.row_texts = self.text_columns  # of a row to train on, which may have more
        self.columns = self.text_columns  # see `columns_in`
        self.max_length = max_length

    @property
    def head(self) -> Head:
        has_types = len(self.text_columns) > 1 and "token_type_ids" in self.tokenizer.model_input_names
        return Head(
            auto_class=self.auto_class,
            num_labels=len(self.label_names),
            label_names=self.label_names,
            max_length=self.max_length,
            max_target_length=self.max_target_length,
            num_types=2 if has_types else 1,
        )

    def fit(self, splits: Splits) -> None:
        """Learn from the rows what encoding needs; raises DataError for a label that cannot be used."""
        for split, rows in splits.items():
            self.read_labels(rows, split=split)

    def columns_in(self, names: Collection[str]) -> tuple[str, ...]:
        """Columns that rows with columns of these names must have, besides labels; shown with predictions."""
        return self.columns

    def texts_in(self, names: Collection[str]) -> tuple[str, ...]:
        """Those of them that hold texts, or lists of words where the task takes those."""
        columns = self.columns_in(names)
        return tuple(column for column in columns if column in self.row_texts) or columns

    def state_dict(self) -> dict[str, Any]:
        """Attributes that were learned from the data, for JSON."""
        return {name: getattr(self, name) for name in self.learned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in {*self.learned} & state.keys():
            value = state[name]
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        self.use_learned()

    def use_learned(self) -> None:
        """Make what follows from the learned attributes, such as an objective with class weights."""

    def label_notes(self, splits: Splits) -> list[str]:
        """Notes on labels that may be meant otherwise than they are read, one sentence each."""
        return []

    def example_notes(self, examples: Any, *, split: str, num_rows: int) -> list[str]:
        """Notes on the encoded examples of so many rows, one sentence each."""
        return []

    def read_labels(self, rows: Dataset, *, split: str) -> list[Any] | None:
        """A label for each row: a class id, a list of them or a number; None where the split has none.

        Raises DataError naming split, row and column for a label that cannot be used.
        """
        return None

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """The input of `encode`: `row_id`, the columns of `columns_in`, and `labels` where there are some."""
        labels = self.read_labels(rows, split=split)
        wanted = ("row_id", *self.columns_in(rows.column_names))
        inputs = rows.select_columns([name for name in wanted if name in rows.column_names])
        return inputs if labels is None else inputs.add_column("labels", labels)  # pyright: ignore

    def label_counts(self, rows: Dataset, *, split: str) -> list[int] | None:
        """Number of rows with each label, [C]; None without classes or labels."""
        labels = self.read_labels(rows, split=split) if self.label_names else None
        if labels is None:
            return None
        return np.bincount(np.fromiter(each_label(labels), int), minlength=len(self.label_names)).tolist()

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Examples of some rows, any number for a row, from the columns of `inputs_of`.

        Each has `input_ids`, an `example_id` that is distinct within a split (the row's id where a row makes
        one example), and `full_length`, the number of tokens before anything was cut.
        """
        raise NotImplementedError

    def encode_records(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Examples of records to predict, which have `row_id` and `text_columns`."""
        return self.encode(columns)

    def augment(self, examples: Sequence[Example], *, seed: int, epoch: int) -> Sequence[Example]:
        """The examples as an epoch uses them, such as with masks: depends on seed, epoch and ids alone."""
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """The examples' `input_ids`, `token_type_ids` and `token_fields`, padded to [B, L] int64.

        With `attention_mask` [B, L], `example_ids` and `groups` [B]; L is the length of the longest one.
        """
        return pad_batch(examples, self.tokenizer, self.token_fields, pad_to=self.pad_to)

    def pad_to(self, length: int, maximum: int | None = None) -> int:
        """The length that texts of at most so many tokens are padded to, by task.pad_to up to `maximum`."""
        maximum, multiple = maximum or self.max_length, self.pad_to_option or 1
        padded = maximum if multiple == "maximum" else -(-length // multiple) * multiple
        return max(length, min(padded, maximum))

    def count(self, examples: Sequence[Example]) -> float | tuple[float, ...]:
        """The denominator of each loss over these examples; adds up over any cut of a batch."""
        return float(len(examples))

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """The model's logits, [B, C] or [B, L, C], at least in float32."""
        return at_least_float32(model(**model_inputs(batch)).logits)

    def sum_losses(self, logits: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """The sum over labels [N] of task.loss, or else of cross-entropies in nats, from logits [N, C]."""
        if self.loss_option is None:
            return F.cross_entropy(logits, labels, reduction="sum")
        return one_by_one(self.loss_option, logits, labels, batch).sum()

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """The sum of the losses of a microbatch with the denominator that `count` gives for it."""
        raise NotImplementedError

    def predictions(self, outputs: Tensor, batch: Batch) -> Any:
        """A record of `prediction_type` for the examples of a batch; never the logits themselves."""
        raise NotImplementedError

    def start_evaluation(self, example_ids: np.ndarray) -> None:
        """Comes before the batches of an evaluation, with the ids of all its examples."""

    def evaluation_widths(self, widths: np.ndarray) -> np.ndarray:
        """Tokens that each example takes in an evaluation, from those of a batch with padding."""
        return widths

    def evaluate_batch(self, model: Any, batch: Batch) -> Any:
        """Predictions from the model itself, under the precision of the run."""
        outputs = self.forward(model, batch)
        with torch.autocast(batch["input_ids"].device.type, enabled=False):
            return self.predictions(outputs, batch)

    def assemble(self, predictions: Any, rows: Any) -> Any:
        """Predictions by row, with row ids as `example_ids`; `rows` are a Dataset, or lists by name."""
        return predictions

    def assemble_records(self, predictions: Any, columns: Mapping[str, Sequence[Any]]) -> Any:
        """The same for records to predict; None for the predictions where no record made an example."""
        return self.assemble(predictions, columns)

    def describe(
        self, predictions: Any, index: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """One result as JSON: `predicted`, and where there are any `expected`, `score`, `scores`.

        A class has a name and its probability as score, a set of classes lists of both.
        """
        predicted, scores = predictions.predicted[index], predictions.scores
        described: dict[str, Any] = {"predicted": self._named(predicted)}
        if predictions.expected is not None:
            described["expected"] = self._named(predictions.expected[index])
        if scores is None:
            return described
        rounded = [round(float(score), 6) for score in scores[index]]
        if self.problem == "multi_label":
            described["score"] = [score for score, is_one in zip(rounded, predicted, strict=True) if is_one]
        else:
            described["score"] = max(rounded)
        if all_scores:
            described["scores"] = dict(zip(self.label_names, rounded, strict=True))
        return described

    def _named(self, value: Any) -> Any:
        """A number, the name of a class, or the names of a set of classes."""
        if not self.label_names:
            return float(value)
        if self.problem == "multi_label":
            return [name for name, is_one in zip(self.label_names, value, strict=True) if is_one]
        return self.label_names[int(value)]

    def comparison(self, predictions: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Predicted and expected values for tables, also of words; None where either is missing.

        Classes [M] int64, sets of classes [M, C] bool or numbers [M] float64; M need not be N.
        """
        columns: list[Any] = [getattr(predictions, name, None) for name in ("predicted", "expected")]
        columns = [column.values if isinstance(column, Ragged) else column for column in columns]
        if any(column is None or column.dtype == object for column in columns):
            return None
        return columns[0], columns[1]

    def tables(self, predictions: Any) -> dict[str, list[dict[str, Any]]]:
        """Tables besides those of a comparison by name, each a list of rows."""
        return {}

    def model_files(self, model: Any) -> dict[str, str]:
        """Texts by path to lie beside a saved model."""
        return {}


def model_inputs(batch: Batch) -> Batch:
    """The tensors of a batch that a model is called with."""
    return {name: batch[name] for name in MODEL_INPUTS if name in batch}


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 or float64, which sums of losses need."""
    return tensor if tensor.element_size() == 8 else tensor.float()
