"""What the keys of sentence embedding say together: scores, texts, losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.config.rules.table import reads
from runwright.errors import Mistake, shown


@reads("task.problem", "task.objective", "task.label_column")
def _scores_are_there_where_they_are_needed(problem: Any, objective: Any, label: Any) -> Iterator[Mistake]:
    if problem not in {"similarity", "retrieval"}:
        return
    if label is None and (problem == "similarity" or objective == "cosine_regression"):
        yield Mistake(
            key="task.label_column",
            given=f"null with task.problem={problem} and task.objective={objective}",
            expected="the column with the score of a pair",
            hint="without scores: task.problem=retrieval task.objective=in_batch_negatives",
        )
    if label is not None and problem == "retrieval" and objective != "cosine_regression":
        yield Mistake(
            key="task.label_column",
            given=f"{shown(label)} with task.problem=retrieval",
            expected="null: what is looked for is known without scores",
        )


@reads("task.objective", "task.negative_column")
def _triplets_have_three_texts(objective: Any, negative: Any) -> Iterator[Mistake]:
    if objective == "triplet" and negative is None:
        yield Mistake(
            key="task.negative_column",
            given="null with task.objective=triplet",
            expected="the column of the text that does not belong",
        )


@reads("task.negative_column", "task.text_column", "task.text_pair_column", "task.label_column")
def _negatives_are_another_column(negative: Any, *others: Any) -> Iterator[Mistake]:
    if negative is not None and negative in others:
        yield Mistake(
            key="task.negative_column",
            given=f"{shown(negative)}, which is read as something else",
            expected="another column",
        )


@reads("task.label_min", "task.label_max")
def _scores_have_a_range(low: Any, high: Any) -> Iterator[Mistake]:
    if low >= high:
        yield Mistake(
            key="task.label_max", given=shown(high), expected=f"more than task.label_min, which is {low}"
        )


@reads("task.objective", "trainer.batch_size")
def _negatives_need_a_batch(objective: Any, batch: Any) -> Iterator[Mistake]:
    if objective == "in_batch_negatives" and batch < 2:
        yield Mistake(
            key="trainer.batch_size",
            given=f"{batch} with task.objective=in_batch_negatives",
            expected="at least 2: the negatives of an example are the others of its batch",
        )
