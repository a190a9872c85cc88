"""Exploration of the splits of a data set as a run would see it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright.analysis.explore import survey
from runwright.analysis.explore.survey import Overlap, SplitSurvey, TokenSurvey
from runwright.dataset.cleaning.columns import text_of
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.raw import ROW_ID
from runwright.errors import DataError
from runwright.report.terminal import shorten
from runwright.task import labels
from runwright.task.labels import read_written
from runwright.task.tags import are_marks, read_marks

USUAL_LABELS = ("label", "labels", "tags", "class", "target", "score")
USUAL_LIMITS = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # tokens
MAX_WHOLE_NUMBERS = 1000  # labels that are more different whole numbers than that are no classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Columns to explore as texts and labels; `notes` tell why they are not those of the task."""

    text_columns: tuple[str, ...]
    label_column: str | None = None
    label_separator: str | None = None  # between several labels of one row
    label_names: tuple[str, ...] = ()  # of the ids, where the task or the column has them
    notes: tuple[str, ...] = ()
    separate_texts: bool = False  # each text is an input; False: those of a row are one together
    in_windows: bool = False  # a long input becomes several, and nothing is cut off

    def reader(self) -> Callable[[Any], list[str]]:
        """A function from a value to its labels by name: sorted for a separator, of words in their order."""
        names, separator = self.label_names, self.label_separator
        named = labels.LabelEncoder(names).named if names else labels.label_name

        def labels_of(value: Any) -> list[str]:
            with suppress(DataError):
                if are_marks(marks := read_written(value)):
                    return [kind for _, _, kind, _ in read_marks(marks, {})]
            if separator is not None:
                several = labels.split_labels(value, separator)
                if names and labels.vector_width([several]) == len(names):
                    several = labels.read_vector(several, len(names))
                return sorted(map(named, several))
            if isinstance(value, list):
                return list(map(named, value))
            return [] if labels.is_missing(value) else [named(value)]

        return labels_of


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """All rows of all splits as they are counted, and the tokens of at most `token_rows` of each split."""

    name: str
    data: LoadedData
    columns: Columns
    tokenizer: Any | None = None
    tokenizer_name: str | None = None
    max_length: int | None = None
    token_rows: int = 20_000

    @cached_property
    def surveys(self) -> dict[str, SplitSurvey]:
        texts, label = self.columns.text_columns, self.columns.label_column
        return {
            split: survey.survey(
                rows,
                split=split,
                text_columns=[column for column in texts if column in rows.column_names],
                label_column=label if label in rows.column_names else None,
                labels_of=self.columns.reader(),
            )
            for split, rows in self.data.splits.items()
        }

    @cached_property
    def tokens(self) -> dict[str, TokenSurvey]:
        """Empty without a tokenizer."""
        texts, separate = self.columns.text_columns, self.columns.separate_texts
        options: Any = {"text_columns": texts, "separate_texts": separate, "max_rows": self.token_rows}
        return {
            split: survey.survey_tokens(rows, self.tokenizer, **options)
            for split, rows in self.data.splits.items()
            if self.tokenizer is not None and set(texts) <= set(rows.column_names)
        }

    @cached_property
    def overlaps(self) -> list[Overlap]:
        return survey.find_overlaps(self.surveys)

    @cached_property
    def noise(self) -> list[Overlap]:
        return [noise for one in self.surveys.values() for noise in survey.find_noise(one)]

    @cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        """Finite labels by split where they are numbers, not classes."""
        column = self.columns.label_column
        surveys = {split: s.columns[column] for split, s in self.surveys.items() if column in s.columns}
        if not all(labels.kind in ("float", "double", "halffloat") for labels in surveys.values()):
            return {}
        numbers = {split: labels.numbers for split, labels in surveys.items()}
        different = np.unique(np.concatenate([*numbers.values(), np.empty(0)]))
        # 0.0, 1.0, 2.0 are classes that some reader took for decimal numbers.
        is_whole = bool((different == np.round(different)).all())
        return {} if is_whole and len(different) <= MAX_WHOLE_NUMBERS else numbers

    @property
    def limits(self) -> list[int]:
        """max_length and the usual lengths up to the longest text; none for a task that cuts nothing off."""
        if self.columns.in_windows:
            return []
        longest = max((tokens.lengths.max(initial=0) for tokens in self.tokens.values()), default=0)
        usual = {limit for limit in USUAL_LIMITS if limit / 2 < longest}
        return sorted(usual | ({self.max_length} if self.max_length else set()))

    def text(self, split: str, position: int, *, longest: int = 240) -> str:
        """The texts of a row in at most `longest` characters."""
        row = self.data.splits[split][position]
        return shorten(" ¦ ".join(text_of(row[name]) for name in self.columns.text_columns), longest)

    def label(self, split: str, position: int) -> str:
        """The label of a row as text."""
        value = self.data.splits[split][position][self.columns.label_column]
        return ", ".join(self.columns.reader()(value))

    @property
    def are_classes(self) -> bool:
        """False for labels that are numbers, and without labels."""
        return not self.numbers and any(one.labels for one in self.surveys.values())


def choose_columns(data: LoadedData, task: Any) -> Columns:
    """The task's columns where the data has them; else texts and labels by what the columns hold."""
    rows = data.splits.get("train") or next(iter(data.splits.values()))
    names = [name for name in rows.column_names if name != ROW_ID]
    usual_label = next((name for name in USUAL_LABELS if name in names), None)
    if task is None:
        return Columns(text_columns=_longest_texts(rows, names), label_column=usual_label)
    notes, texts, label = [], task.texts_in(names), getattr(task, "tags_column", task.label_column)
    if (missing := ", ".join(name for name in texts if name not in names)) or not texts:
        texts = _longest_texts(rows, names)
    if missing:
        instead = ", ".join(texts) or "nothing"
        notes.append(f"there is no column {missing}, which the task wants; taken for texts: {instead}")
    if task.generates:
        label = None  # its targets are texts, whatever their column is called
    elif label not in names:
        label = usual_label
        if task.label_column is not None:
            notes.append(f"there is no column {task.label_column}; taken for labels: {label or 'nothing'}")
    return Columns(
        text_columns=texts,
        label_column=label,
        label_separator=task.label_separator if task.problem == "multi_label" else None,
        label_names=getattr(task, "names_option", ()) or labels.names_in(rows.features.get(label)),
        notes=tuple(notes),
        separate_texts=task.embeds_texts,
        in_windows=task.cuts_windows,
    )


def _longest_texts(rows: Dataset, names: Sequence[str]) -> tuple[str, ...]:
    """The text column whose first rows have the most characters."""
    _, head = next(survey.batches(rows))
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_list)
    wanted = [name for name in names if any(test(head[name].type) for test in tests)]
    sizes = [sum(len(text or "") for text in survey.texts_of(head[name]).to_pylist()) for name in wanted]
    return (wanted[sizes.index(max(sizes))],) if wanted else ()
