"""What the keys of question answering say together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.combining import reads
from runwright.mistakes import Mistake, shown
from runwright.option_types import TARGET

SPECIAL_TOKENS = 8  # more than any tokenizer puts around a question and a text
FIGURES = "runwright.metric.answers."


@reads("task.max_length", "task.max_question_length", "task.overlap")
def _a_window_has_room_for_new_text(length: Any, question: Any, overlap: Any) -> Iterator[Mistake]:
    least = question + overlap + SPECIAL_TOKENS
    if length <= least:
        yield Mistake(
            key="task.max_length",
            given=shown(length),
            expected=f"more than {least}: max_question_length, overlap and {SPECIAL_TOKENS} special tokens",
        )


@reads("task.max_length", "task.max_answer_length")
def _an_answer_fits_into_a_window(length: Any, answer: Any) -> Iterator[Mistake]:
    if answer >= length:
        yield Mistake(
            key="task.max_answer_length",
            given=shown(answer),
            expected=f"less than max_length, which is {shown(length)}",
        )


@reads("metric", "task.no_answer_threshold")
def _figures_of_no_answer_need_a_threshold(metrics: Any, threshold: Any) -> Iterator[Mistake]:
    for name, node in (metrics or {}).items() if threshold is None else ():
        if str(node.get(TARGET, "")).startswith(FIGURES) and node.get("of") == "unanswerable":
            yield Mistake(
                key=f"metric.{name}",
                given="a figure of questions without an answer, with task.no_answer_threshold null",
                expected="questions that all have one",
                hint="set task.no_answer_threshold to a number or tune",
            )


@reads("task.no_answer_threshold", "dataset.holdout.validation", "dataset.source.files")
def _a_threshold_is_tuned_on_something(threshold: Any, share: Any, files: Any) -> Iterator[Mistake]:
    if not files.get("train"):
        return  # nothing is trained: an evaluation on other data
    if threshold == "tune" and not share and not files.get("validation"):
        yield Mistake(
            key="task.no_answer_threshold",
            given="'tune' without a validation split",
            expected="null or a number",
            hint="or set dataset.holdout.validation",
        )


@reads("dataset.source.only_titles", "dataset.source.exclude_titles")
def _chosen_articles_are_not_left_out(only: Any, exclude: Any) -> Iterator[Mistake]:
    for split, titles in only.items():
        both = sorted(set(titles or []) & set(exclude.get(split) or []))
        if both:
            yield Mistake(
                key=f"dataset.source.exclude_titles.{split}",
                given=f"{both[0]!r}, which only_titles.{split} has too",
                expected="a title in one of the two",
            )
