"""Survey the splits of a data set as a run would see it, and compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright.analysis.explore.overlaps import Noise, Overlap, find_noise, find_overlaps
from runwright.analysis.explore.survey import Labels, SplitSurvey, batches, survey, texts_of
from runwright.analysis.explore.tokens import TokenSurvey, survey_tokens, truncation_limits
from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.raw import ROW_ID
from runwright.task.labels import is_missing, split_labels

USUAL_LABELS = ("label", "labels", "tags", "class", "target", "score")
MAX_WHOLE_NUMBERS = 1000  # labels that are more different whole numbers than that are no classes

Progress = Callable[[str, int, int], None]
"""Gets what is done, rows done, and rows in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Which columns are looked at as texts and labels, and why not those of the task."""

    text_columns: tuple[str, ...]
    label_column: str | None
    label_separator: str | None  # between several labels of one row
    notes: tuple[str, ...] = ()
    each_text: bool = False  # each text is an input of its own; False: those of a row are one together
    in_windows: bool = False  # a long input becomes several, and nothing is cut off


@dataclass(frozen=True, kw_only=True, slots=True)
class Exploration:
    """What is known of a data set."""

    name: str
    data: LoadedData
    columns: Columns
    surveys: dict[str, SplitSurvey]
    tokens: dict[str, TokenSurvey]  # empty without a tokenizer
    tokenizer_name: str | None
    max_length: int | None
    overlaps: list[Overlap]
    noise: list[Noise]
    numbers: dict[str, np.ndarray]  # finite labels by split where they are numbers, not classes

    @property
    def limits(self) -> list[int]:
        """Lengths of which is told what they would cut off; none where nothing ever is."""
        return [] if self.columns.in_windows else truncation_limits(self.max_length, self.tokens)

    def text(self, split: str, position: int, *, longest: int = 240) -> str:
        """The texts of a row, cut."""
        row = self.data.splits[split][position]
        whole = " ¦ ".join(text_of(row[name]) for name in self.columns.text_columns)
        return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"

    def label(self, split: str, position: int) -> str | None:
        """The label of a row as text."""
        column = self.columns.label_column
        rows = self.data.splits[split]
        return as_text(rows[position][column]) if column in rows.column_names else None

    @property
    def are_classes(self) -> bool:
        """Whether the labels are classes rather than numbers."""
        return not self.numbers and any(each.labels for each in self.surveys.values())


def explore(
    data: LoadedData,
    *,
    name: str,
    columns: Columns,
    tokenizer: Any | None,
    tokenizer_name: str | None,
    max_length: int | None,
    token_rows: int,
    on_progress: Progress | None = None,
) -> Exploration:
    """Look at all rows of all splits, and at the tokens of at most `token_rows` of each."""
    labels_of = label_reader(columns.label_separator)
    surveys: dict[str, SplitSurvey] = {}
    tokens: dict[str, TokenSurvey] = {}
    for split, rows in data.splits.items():
        surveys[split] = survey(
            rows,
            split=split,
            text_columns=[column for column in columns.text_columns if column in rows.column_names],
            label_column=columns.label_column if columns.label_column in rows.column_names else None,
            labels_of=labels_of,
            on_progress=_reported(on_progress, split, len(rows)),
        )
        if tokenizer is not None and set(columns.text_columns) <= set(rows.column_names):
            tokens[split] = survey_tokens(
                rows,
                tokenizer,
                text_columns=columns.text_columns,
                each_text=columns.each_text,
                max_rows=token_rows,
                on_progress=_reported(on_progress, f"{split}, tokens", min(token_rows, len(rows))),
            )
    return Exploration(
        name=name,
        data=data,
        columns=columns,
        surveys=surveys,
        tokens=tokens,
        tokenizer_name=tokenizer_name,
        max_length=max_length,
        overlaps=find_overlaps(surveys),
        noise=[noise for each in surveys.values() if (noise := find_noise(each))],
        numbers=_label_numbers(surveys, columns.label_column),
    )


def choose_columns(data: LoadedData, task: Any) -> Columns:
    """The task's columns where the data has them; else texts and labels by what the columns hold."""
    rows = data.splits.get("train") or next(iter(data.splits.values()))
    names = [name for name in rows.column_names if name != ROW_ID]
    wanted = task.row_texts if task is not None else ()
    notes: list[str] = []
    texts = tuple(name for name in wanted if name in names)
    if not texts or texts != wanted:
        texts = _longest_texts(rows, names)
        missing = ", ".join(name for name in wanted if name not in names)
        notes.append(
            f"there is no column {missing}, which the task wants; taken for texts: "
            f"{', '.join(texts) or 'nothing'}"
        )
    label = task.label_column if task is not None else None
    if label not in names:
        found = next((name for name in USUAL_LABELS if name in names), None)
        if label is not None:
            notes.append(f"there is no column {label}; taken for labels: {found or 'nothing'}")
        label = found
    separator = task.label_separator if task is not None and task.problem == "multi_label" else None
    return Columns(
        text_columns=texts,
        label_column=label,
        label_separator=separator,
        notes=tuple(notes if wanted else ()),
        each_text=task is not None and task.embeds_texts,
        in_windows=task is not None and task.cuts_windows,
    )


def label_reader(separator: str | None) -> Labels:
    """What makes the labels of a value as text: several where there is a separator, or a list.

    Those of words are in the order of the words, others in that of their names.
    """

    def read(value: Any) -> list[str]:
        if separator is not None:
            return sorted(as_text(each) for each in split_labels(value, separator))
        if isinstance(value, list):
            return [as_text(each) for each in value]
        if is_missing(value):
            return []
        return [as_text(value)]

    return read


def _longest_texts(rows: Dataset, names: list[str]) -> tuple[str, ...]:
    """The text column whose first rows have the most characters."""
    _, head = next(batches(rows))
    sizes: dict[str, int] = {}
    for name in names:
        kind = head[name].type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_list(kind):
            sizes[name] = sum(len(text or "") for text in texts_of(head[name]).to_pylist())
    return (max(sizes, key=lambda name: sizes[name]),) if sizes else ()


def _label_numbers(surveys: Mapping[str, SplitSurvey], column: str | None) -> dict[str, np.ndarray]:
    """Labels of each split where they are numbers and not classes."""
    columns = {split: each.columns[column] for split, each in surveys.items() if column in each.columns}
    if not all(column.kind in ("float", "double", "halffloat") for column in columns.values()):
        return {}
    numbers = {split: column.numbers for split, column in columns.items()}
    different = np.unique(np.concatenate([*numbers.values(), np.empty(0)]))
    # 0.0, 1.0, 2.0 are classes that some reader took for decimal numbers.
    is_whole = bool((different == np.round(different)).all())
    return {} if is_whole and len(different) <= MAX_WHOLE_NUMBERS else numbers


def _reported(on_progress: Progress | None, what: str, total: int) -> Callable[[int], None] | None:
    if on_progress is None:
        return None
    return lambda done: on_progress(what, done, total)
