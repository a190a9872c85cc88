"""Exploration of the splits of a data set as a run would see it."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from runwright.analysis.explore import survey
from runwright.analysis.explore.survey import Overlap, SplitSurvey, TokenSurvey
from runwright.dataset.cleaning.columns import text_of
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.raw import ROW_ID
from runwright.errors import DataError
from runwright.report.terminal import shorten
from runwright.task import labels
from runwright.task.tags import are_marks, read_marks


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The columns of texts and labels, and how a task reads them."""

    text_columns: tuple[str, ...]
    label_column: str | None = None
    label_separator: str | None = None  # between several labels of one row
    label_names: tuple[str, ...] = ()  # of the ids, where the task or the column has them
    are_numbers: bool = False  # labels are values to predict, not classes
    separate_texts: bool = False  # each text is an input; False: those of a row are one together
    max_length: int | None = None  # tokens of an input; None where a long one becomes several

    def labels_of(self, value: Any) -> list[str]:
        """The labels in a cell by name: sorted for a separator, of words in their order."""
        names, separator = self.label_names, self.label_separator
        named = labels.LabelEncoder(names).named if names else labels.label_name
        with suppress(DataError):
            if are_marks(marks := labels.read_written(value)):
                return [kind for _, _, kind, _ in read_marks(marks, {})]
        if separator is not None:
            several = labels.split_labels(value, separator)
            if names and labels.vector_width([several]) == len(names):
                several = labels.read_vector(several, len(names))
            return sorted(map(named, several))
        if isinstance(value, list):
            return list(map(named, value))
        return [] if labels.is_missing(value) else [named(value)]


def task_columns(task: Any, rows: Any) -> Columns:
    """The columns of a task in some rows; labels that are texts, or are not there, are left out."""
    label = None if task.generates else getattr(task, "tags_column", task.label_column)
    return Columns(
        text_columns=task.texts_in([name for name in rows.column_names if name != ROW_ID]),
        label_column=label if label in rows.column_names else None,
        label_separator=task.label_separator if task.problem == "multi_label" else None,
        label_names=getattr(task, "names_option", ()) or labels.names_in(rows.features.get(label)),
        are_numbers=task.problem == "regression",
        separate_texts=task.embeds_texts,
        max_length=None if task.cuts_windows else task.max_length,
    )


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """All rows of all splits as they are counted, and the tokens of some of each split."""

    data: LoadedData
    columns: Columns
    tokenizer: Any | None = None

    @cached_property
    def surveys(self) -> dict[str, SplitSurvey]:
        texts, label = self.columns.text_columns, self.columns.label_column
        return {
            split: survey.survey(
                rows,
                split=split,
                text_columns=texts,
                label_column=label if label in rows.column_names else None,
                labels_of=self.columns.labels_of,
            )
            for split, rows in self.data.splits.items()
        }

    @cached_property
    def tokens(self) -> dict[str, TokenSurvey]:
        """Empty without a tokenizer."""
        texts, separate = self.columns.text_columns, self.columns.separate_texts
        return {
            split: survey.survey_tokens(rows, self.tokenizer, text_columns=texts, separate_texts=separate)
            for split, rows in self.data.splits.items()
            if self.tokenizer is not None
        }

    @cached_property
    def overlaps(self) -> list[Overlap]:
        return survey.find_overlaps(self.surveys)

    @cached_property
    def noise(self) -> list[Overlap]:
        return [noise for one in self.surveys.values() for noise in survey.find_noise(one)]

    @property
    def numbers(self) -> dict[str, np.ndarray]:
        """Labels that are numbers to predict, by split."""
        surveys = self.surveys.items() if self.columns.are_numbers else ()
        return {split: survey.numbers for split, survey in surveys if len(survey.numbers)}

    @cached_property
    def label_names(self) -> list[str]:
        """The classes, the most frequent of the first split first; none where labels are numbers."""
        counts = [survey.labels for survey in self.surveys.values() if not self.columns.are_numbers]
        ranked = (sorted(labels, key=lambda name, of=labels: (-of[name], name)) for labels in counts)
        return [*dict.fromkeys(name for names in ranked for name in names)]

    def text(self, split: str, position: int, *, longest: int = 240) -> str:
        """The texts of a row in at most `longest` characters."""
        row = self.data.splits[split][position]
        return shorten(" ¦ ".join(text_of(row[name]) for name in self.columns.text_columns), longest)

    def label(self, split: str, position: int) -> str:
        """The label of a row as text."""
        return ", ".join(self.columns.labels_of(self.data.splits[split][position][self.columns.label_column]))
