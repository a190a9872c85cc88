"""What a run asks of a task, all of it; the trainer alone needs less (`types.Task`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from runwright.types import Comparison, Example, Head, Splits, Task

if TYPE_CHECKING:
    from datasets import Dataset


class ExperimentTask(Task, Protocol):
    """What a run needs of a task besides training: a group of `task/` gives a class with all of this.

    A class also carries `problem: str`, the kind of problem, as a literal or as an option: metrics name the
    kinds that they can judge.

    A task may have `row_texts`, where rows to train on have more texts than a record to predict, each an
    input of its own; `cuts_windows = True`, where a long row becomes several inputs and nothing is lost;
    and `model_files(model)`, texts by path to lie beside a saved model. Where records to predict are not
    taken as rows are, it has `encode_records` and `assemble_records`, used instead of `encode` and
    `assemble`; the latter gets None for the predictions where no record made an example.
    Where it has a `words_column`, a record to predict may have a list of words there, which `encode` takes in
    place of the text.
    """

    tokenizer: Any
    max_length: int
    text_columns: tuple[str, ...]  # what a record to predict must have
    group_names: tuple[str, ...]
    label_names: tuple[str, ...]
    predicts_rows: bool  # False: there is nothing to say of a single row, as in language modelling

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the rows that the task reads besides labels; predictions are shown with them."""
        ...

    @property
    def label_column(self) -> str | None:
        """The column with one label a row, where there is such a one."""
        ...

    @property
    def head(self) -> Head: ...

    def fit(self, splits: Splits) -> None:
        """Learn from the data what is needed to encode it; raises DataError for a useless label."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What was learned from the data, for JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """`row_id` and the columns that `encode` takes; raises DataError naming the row of a wrong label."""
        ...

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Examples of some rows, any number for a row; each has `example_id` and `full_length`.

        The ids are distinct within a split: `row_id` where a row makes one example. `full_length` is the
        number of tokens before anything was cut.
        """
        ...

    def assemble(self, predictions: Any, rows: Any) -> Any:
        """Predictions by row from those by example; `example_ids` are row ids from then on.

        `rows` gives columns by name: a Dataset, or lists.
        """
        ...

    def describe(
        self, predictions: Any, place: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """`predicted`, and where known `score`, `scores`, `expected`, as a person would write them."""
        ...

    def comparison(self, predictions: Any) -> Comparison | None:
        """What tables and plots show; None where there are no labels or nothing to show."""
        ...

    def tables(self, predictions: Any) -> dict[str, list[dict[str, Any]]]:
        """Tables of the task's own by name, each a list of rows; none where there are no labels."""
        ...

    def label_counts(self, rows: Dataset, *, split: str) -> list[int] | None:
        """How often each label occurs, [C]; None where there are none to count."""
        ...
