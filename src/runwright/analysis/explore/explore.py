"""A data set as a run would see it, explored: surveys of each split, what was found, everything for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright.analysis.explore.overlaps import Noise, Overlap, find_noise, find_overlaps
from runwright.analysis.explore.survey import Labels, SplitSurvey, survey, texts_of
from runwright.analysis.explore.tokens import TokenSurvey, survey_tokens, truncation_limits
from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.load import LoadedData
from runwright.dataset.readers.raw import ROW_ID
from runwright.task.labels import is_missing, split_labels

SAMPLE_ROWS = 10_000  # rows of each split whose numbers are kept for a histogram
USUAL_LABELS = ("label", "labels", "tags", "class", "target", "score")
CLASSES_AT_MOST = 1000  # different labels beyond are no classes

Progress = Callable[[str, int, int], None]
"""Gets what is done, rows done, and rows in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
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
    chosen: Chosen
    surveys: dict[str, SplitSurvey]
    tokens: dict[str, TokenSurvey]  # empty without a tokenizer
    tokenizer_name: str | None
    num_tokens: int  # in the vocabulary
    max_length: int | None
    overlaps: list[Overlap]
    noise: list[Noise]
    numbers: dict[str, np.ndarray]  # labels that are numbers, a sample by split

    @property
    def limits(self) -> list[int]:
        """Lengths of which is told what they would cut off; none where nothing ever is."""
        return [] if self.chosen.in_windows else truncation_limits(self.max_length, self.tokens)

    def text(self, split: str, position: int, *, longest: int = 240) -> str:
        """The texts of a row, cut."""
        row = self.data.splits[split][position]
        whole = " ¦ ".join(text_of(row[name]) for name in self.chosen.text_columns)
        return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"

    def label(self, split: str, position: int) -> str | None:
        """The label of a row as text."""
        column = self.chosen.label_column
        rows = self.data.splits[split]
        return as_text(rows[position][column]) if column in rows.column_names else None

    @property
    def are_classes(self) -> bool:
        """Whether the labels are classes rather than numbers."""
        return not self.numbers and any(each.labels.counts for each in self.surveys.values())


def explore(
    data: LoadedData,
    *,
    name: str,
    chosen: Chosen,
    tokenizer: Any | None,
    tokenizer_name: str | None,
    max_length: int | None,
    token_rows: int,
    on_progress: Progress | None = None,
) -> Exploration:
    """Look at all rows of all splits, and at the tokens of at most `token_rows` of each."""
    labels_of = label_reader(chosen.label_separator)
    surveys: dict[str, SplitSurvey] = {}
    tokens: dict[str, TokenSurvey] = {}
    for split, rows in data.splits.items():
        surveys[split] = survey(
            rows,
            split=split,
            text_columns=[column for column in chosen.text_columns if column in rows.column_names],
            label_column=chosen.label_column if chosen.label_column in rows.column_names else None,
            labels_of=labels_of,
            on_progress=_reported(on_progress, split, len(rows)),
        )
        if tokenizer is not None and set(chosen.text_columns) <= set(rows.column_names):
            tokens[split] = survey_tokens(
                rows,
                tokenizer,
                text_columns=chosen.text_columns,
                each_text=chosen.each_text,
                max_rows=token_rows,
                on_progress=_reported(on_progress, f"{split}, tokens", min(token_rows, len(rows))),
            )
    return Exploration(
        name=name,
        data=data,
        chosen=chosen,
        surveys=surveys,
        tokens=tokens,
        tokenizer_name=tokenizer_name,
        num_tokens=len(tokenizer) if tokenizer is not None else 0,
        max_length=max_length,
        overlaps=find_overlaps(surveys),
        noise=[found for each in surveys.values() if (found := find_noise(each))],
        numbers=_numbers(data, chosen),
    )


def choose_columns(data: LoadedData, task: Any) -> Chosen:
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
    return Chosen(
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
    head = rows.select(range(min(len(rows), 500)))
    sizes: dict[str, int] = {}
    for name in names:
        kind = rows.features.arrow_schema.field(name).type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_list(kind):
            values: Any = head.with_format("arrow")[:].column(name)  # pyright: ignore[reportAttributeAccessIssue]
            whole = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
            sizes[name] = sum(len(text or "") for text in texts_of(whole).to_pylist())
    return (max(sizes, key=lambda name: sizes[name]),) if sizes else ()


def _numbers(data: LoadedData, chosen: Chosen) -> dict[str, np.ndarray]:
    """Labels that are numbers and not classes, a sample of each split."""
    column = chosen.label_column
    found: dict[str, np.ndarray] = {}
    for split, rows in data.splits.items():
        if column not in rows.column_names:
            continue
        kind = rows.features.arrow_schema.field(column).type
        if not pa.types.is_floating(kind):
            return {}
        places = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE_ROWS, len(rows))).astype(np.int64))
        values = np.array(
            [np.nan if v is None else v for v in rows.select(places)[column][:]], dtype=np.float64
        )
        found[split] = values[np.isfinite(values)]
    together = np.concatenate(list(found.values())) if found else np.empty(0)
    # 0.0, 1.0, 2.0 are classes that some reader took for decimal numbers.
    whole = bool((together == np.round(together)).all())
    return {} if whole and len(np.unique(together)) <= CLASSES_AT_MOST else found


def _reported(on_progress: Progress | None, what: str, total: int) -> Callable[[int], None] | None:
    if on_progress is None:
        return None
    return lambda done: on_progress(what, done, total)


def shares_of(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts as shares of their sum."""
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}
