"""Records and protocols that travel between rooms, and the types that options are checked against.

Nothing heavy is imported here at run time: the command line reads this module on every start.
Shape letters: B batch, L sequence length, D hidden, H heads, V vocabulary, C classes, N examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from torch import Tensor


# --- option types: what a value in a YAML file may be -------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Bounds of a finite number; `ge`/`le` include the bound, `gt`/`lt` exclude it."""

    ge: float = -math.inf
    gt: float = -math.inf
    le: float = math.inf
    lt: float = math.inf


PositiveInt = Annotated[int, Range(ge=1)]
NonNegativeInt = Annotated[int, Range(ge=0)]
PositiveFloat = Annotated[float, Range(gt=0)]
NonNegativeFloat = Annotated[float, Range(ge=0)]
Fraction = Annotated[float, Range(ge=0, le=1)]
OpenFraction = Annotated[float, Range(ge=0, lt=1)]  # 0 allowed, 1 not: dropout, hold-out shares


# --- data: rows -> examples -> batches ----------------------------------------------------------------

Splits: TypeAlias = "dict[str, Dataset]"
"""Rows by split name; by convention `train`, `validation`, `test`."""

Example: TypeAlias = dict[str, Any]
"""One encoded row: `example_id: int`, `input_ids: list[int]`, what else the task needs; variable length."""

Batch: TypeAlias = "dict[str, Tensor]"
"""Collated examples: `input_ids [B, L]` int64, `attention_mask [B, L]` int64, `labels` (ignored = -100)."""


class Examples(Protocol):
    """Encoded examples of one split, with random access by position."""

    @property
    def lengths(self) -> np.ndarray: ...  # tokens of each example, [N] int64: its cost
    # Tokens in a batch with padding, [N] int64; several texts take as many rows of the longest. [N, 2] where
    # source and target are padded one by one.
    @property
    def widths(self) -> np.ndarray: ...
    @property
    def example_ids(self) -> np.ndarray: ...  # [N] int64, distinct
    def __len__(self) -> int: ...
    def fetch(self, positions: Sequence[int]) -> list[Example]: ...  # in the order of the positions


# --- model and loss -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Requirements of a task on a model: the auto class of transformers, and the labels of its head."""

    auto_class: str  # e.g. "AutoModelForSequenceClassification"
    num_labels: int  # 0: the head has none, as that of a language model
    label_names: tuple[str, ...]  # one per class; empty for regression
    problem_type: str | None = None  # transformers' name of it, stored in the saved model
    initial_bias: tuple[float, ...] = ()  # [C] of a new output layer; empty: as the architecture makes it
    max_length: int = 0  # most tokens of an input, for which the model must have positions
    max_target_length: int = 0  # of what a decoder reads
    num_types: int = 1  # of tokens: 2 where the tokenizer tells the texts of a pair apart
    trained: bool = False  # a checkpoint without this head is refused


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSum:
    """A sum and its denominator, never a mean; sums of different microbatches may be added."""

    total: Tensor  # scalar; [K] of a task with several losses, which have a denominator each
    count: float  # float64 on purpose: class weights stay exact; of the first loss


@dataclass(frozen=True, kw_only=True, slots=True)
class PerExample:
    """Columns of predictions for N examples; each task has the subclass with the columns that it predicts.

    A column has one entry for each example: a numpy array [N, …] on the CPU, a `predictions.Ragged`, or None.
    """

    example_ids: np.ndarray  # [N] int64
    losses: np.ndarray | None = None  # [N] float64, the sum of the losses of each example
    loss_counts: np.ndarray | None = None  # [N] float64, how many losses each is a sum of; None: one each
    more_losses: np.ndarray | None = None  # [N] float64, of a second loss: its mean is added to the first's
    groups: np.ndarray | None = None  # [N] int64, the slice of the data each belongs to

    @property
    def labelled(self) -> bool:
        """Return True if there is something to compare with: labels, or the losses that they gave."""
        return self.losses is not None or getattr(self, "expected", None) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions(PerExample):
    """A class, a set of classes or a number for each of N examples; losses are in nats or squared errors."""

    predicted: np.ndarray  # [N] int64 classes, [N, C] bool, or [N] float64
    expected: np.ndarray | None  # same shape as predicted; None where there are no labels
    scores: np.ndarray | None  # [N, C] float64 probabilities; None for regression


class Task(Protocol):
    """The methods of `task.base.Task` that the trainer calls; only the task looks inside a batch."""

    @property
    def prediction_type(self) -> type[Any]: ...
    @property
    def coupled_loss(self) -> Callable[[Tensor], LossSum] | None: ...
    def augment(self, examples: Sequence[Example], *, seed: int, epoch: int) -> Sequence[Example]: ...
    def collate(self, examples: Sequence[Example]) -> Batch: ...
    @property
    def num_losses(self) -> int: ...
    def count(self, examples: Sequence[Example]) -> float | tuple[float, ...]: ...
    def forward(self, model: Any, batch: Batch) -> Tensor: ...
    def loss(self, outputs: Tensor, batch: Batch) -> LossSum: ...
    def start_evaluation(self, example_ids: np.ndarray) -> None: ...
    def evaluation_widths(self, widths: np.ndarray) -> np.ndarray: ...
    def evaluate_batch(self, model: Any, batch: Batch) -> Any: ...


# --- metrics ------------------------------------------------------------------------------------------


class Metric(Protocol):
    """A function of predictions and of how often each example counts; its options are bound.

    weights [S, N] float64: one row of ones gives the value, the rows of a bootstrap its interval. Returns
    [S] float64, NaN where it is undefined; [S, rows, columns] for a table.
    """

    def __call__(self, predictions: Any, weights: np.ndarray) -> np.ndarray: ...


Table: TypeAlias = "np.ndarray"
"""Return type of a metric that is a table, such as a confusion matrix, and takes predictions alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A metric with its confidence interval."""

    value: float
    low: float
    high: float


# --- tracking -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """Identity, configuration and folder of a run, for its tracker."""

    run_id: str
    name: str  # the experiment's
    folder: Path
    config: Mapping[str, Any]  # the resolved configuration
    overrides: tuple[str, ...]
    start_time: float | None = None  # seconds since 1970
    sweep: str | None = None  # identity of the multirun that it is a job of


class Tracker(Protocol):
    """Receives what a run produces; called on rank 0 only; never blocks a step and never raises into it."""

    def start(self, run: RunInfo) -> None: ...
    def log_params(self, params: Mapping[str, Any]) -> None: ...
    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None: ...
    # The hash of all batches up to a step: equal for runs that saw the same data.
    def log_ledger(self, ledger: str, *, step: int) -> None: ...
    def log_tags(self, tags: Mapping[str, str]) -> None: ...
    def sync(self) -> int: ...  # puts what was recorded on the disk
    def log_model(self, path: Path, *, about: Mapping[str, Any]) -> None: ...
    def log_artifact(self, path: Path) -> None: ...  # a file or a folder of the run's folder
    def finish(self, status: str) -> None: ...  # FINISHED, PRUNED, FAILED or KILLED


# --- inference and results ----------------------------------------------------------------------------

HYPOTHESIS = "This text is about {}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypotheses:
    """Classes that a run of pairs is asked for, and the sentence that says one of a text."""

    labels: tuple[str, ...]
    template: str  # {} stands for the class


@dataclass(kw_only=True, slots=True)
class Speed:
    """Time of a training, an evaluation or predictions, and how much was computed in it so far."""

    seconds: float = 0.0  # in steps or batches alone
    num_samples: int = 0  # each as often as it was seen
    num_steps: int = 0  # updates, or batches of an evaluation
    num_tokens: int = 0  # read, without padding
    flops_per_token: float  # 6 N in training, else 2 N: N parameters, embeddings left out

    @property
    def samples_per_second(self) -> float:
        return self.num_samples / self.seconds if self.seconds else math.nan

    @property
    def steps_per_second(self) -> float:
        return self.num_steps / self.seconds if self.seconds else math.nan

    @property
    def flops(self) -> float:
        return self.flops_per_token * self.num_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """Results of a finished run."""

    run_id: str
    folder: Path
    global_step: int  # updates made
    training_loss: float  # mean over all steps
    metrics: dict[str, float]  # e.g. "test/pearson", of the best model
    intervals: dict[str, Interval]  # 95 % bootstrap intervals, for metrics of evaluation splits
    best_step: int | None
    ledger: str  # equal for runs that saw the same data in the same order
    paths: dict[str, Path]  # best, config, log, journal, predictions/<split>, tables/…
    speed: Speed  # of the training


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateResult:
    """Predictions and metrics of a run's best model on one split."""

    split: str
    predictions: Any  # by row: [N] int64 classes, [N, C] bool, [N] float64, or the column of the task
    label_ids: Any  # of the same kind; None where there are no labels
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    folder: Path | None  # where predictions and tables were written
    speed: Speed
    logits: Path | None = None  # an npz file, where it was asked for
    warning: str = ""  # where the rows are not those of the run's own split, or some were in train
    notes: Sequence[str] = ()  # on what labels and metrics mean


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictResult:
    """Predictions in the order of the input."""

    predictions: list[dict[str, Any]]  # the record with `predicted`, `score`, on demand `scores`
    speed: Speed
