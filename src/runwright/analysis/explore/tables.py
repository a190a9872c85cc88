"""Tables of an exploration, one list for the terminal, the page and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.oddities import ODDITIES, SCRIPTS
from runwright.analysis.explore.survey import quantile

MAX_LABELS = 1000  # rows of the table of labels
NUM_UNKNOWN = 20  # pieces of each split
Rows = Iterator[dict[str, Any]]


class Share(float):
    """A share of a whole: a number in JSON, percent for people, never 0 for something."""

    def __str__(self) -> str:
        return f"{100 * self:.1f} %" if self >= 0.001 or not self else "under 0.1 %"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows by column: text, numbers, shares or None."""

    name: str
    title: str
    rows: list[dict[str, Any]]  # all with the same columns
    is_summary: bool  # printed on the terminal too


def share(count: float, whole: float) -> Share:
    """The share of a count; 0 of nothing is 0."""
    return Share(count / whole if whole else 0.0)


def tables(exploration: Exploration) -> list[Table]:
    """The tables that have rows; first those of the summary."""
    surveys, label = exploration.surveys, exploration.columns.label_column
    names = label_names(exploration)
    shown = f", {MAX_LABELS:,} shown" if len(names) > MAX_LABELS else ""

    def by_split(rows_of: Callable[[Exploration, str], Rows]) -> Rows:
        for split in surveys:
            yield from ({"split": split, **row} for row in rows_of(exploration, split))

    odd = {
        kind.name: {split: len(survey.odd.get(kind.name, ())) for split, survey in surveys.items()}
        for kind in ODDITIES
    }
    scripts = {
        script: {split: int((survey.scripts == number).sum()) for split, survey in surveys.items()}
        for number, script in enumerate(SCRIPTS)
    }
    summary: dict[str, tuple[str, Iterable[dict[str, Any]]]] = {
        "splits": ("Splits", by_split(_split)),
        "lengths": ("Lengths of the texts", by_split(_lengths)),
        "truncation": ("What max_length cuts", _truncation(exploration)),
        "tokens": (f"Tokens of {exploration.tokenizer_name}", by_split(_tokens)),
        "labels": (f"{label}, {len(names):,} classes{shown}", _labels(exploration, names[:MAX_LABELS])),
        "numbers": (f"{label}, numbers", by_split(_numbers)),
    }
    details = {
        "unknown": ("Pieces that the tokenizer does not know", by_split(_unknown)),
        "columns": ("Columns", by_split(_columns)),
        "values": ("Most frequent values", by_split(_values)),
        "odd": ("Odd texts", ({"text": name, **row} for name, row in odd.items() if any(row.values()))),
        "scripts": (
            "Scripts",
            ({"script": name, **row} for name, row in scripts.items() if any(row.values())),
        ),
    }
    every = [
        Table(name=name, title=title, rows=list(rows), is_summary=name in summary)
        for name, (title, rows) in (summary | details).items()
    ]
    return [table for table in every if table.rows]


def label_names(exploration: Exploration) -> list[str]:
    """The classes, the most frequent of the first split first; none where labels are numbers."""
    if not exploration.are_classes:
        return []
    first, *others = (survey.labels for survey in exploration.surveys.values() if survey.labels)
    return [
        *sorted(first, key=lambda name: (-first[name], name)),
        *sorted({name for labels in others for name in labels} - first.keys()),
    ]


def _split(exploration: Exploration, split: str) -> Rows:
    overlaps = [overlap for overlap in exploration.overlaps if overlap.split == overlap.other == split]
    repeated = {overlap.kind: overlap.rows for overlap in overlaps}
    yield {
        "rows": exploration.surveys[split].num_rows,
        "equal to earlier": repeated.get("exact", 0),
        "nearly equal": repeated.get("near", 0),
        "without label": exploration.surveys[split].unlabelled,
    }


def _lengths(exploration: Exploration, split: str) -> Rows:
    survey = exploration.surveys[split]
    units = {"characters": survey.characters, "words": survey.words}
    if split in exploration.tokens:
        units["tokens"] = exploration.tokens[split].lengths
    for unit, lengths in units.items():
        shares = {"median": 0.5, "95 %": 0.95, "99 %": 0.99, "longest": 1}
        quantiles = {name: quantile(lengths, value) for name, value in shares.items()}
        yield {"unit": unit, "mean": float(lengths.mean()) if len(lengths) else 0.0, **quantiles}


def _truncation(exploration: Exploration) -> Rows:
    for limit in exploration.limits:
        row: dict[str, Any] = {"max_length": limit}
        for split, tokens in exploration.tokens.items():
            row[f"{split} rows"], row[f"{split} tokens"] = map(Share, tokens.cut_by(limit))
        yield row


def _tokens(exploration: Exploration, split: str) -> Rows:
    if (tokens := exploration.tokens.get(split)) is not None:
        rates = tokens.counts.rates()
        yield {
            "rows read": tokens.num_rows,
            "tokens a word": rates["tokens_per_word"],
            "characters a token": rates["characters_per_token"],
            "unknown": Share(rates["unknown_rate"]),
            "tokens used": tokens.counts.num_used,
            "vocabulary": tokens.counts.vocab_size,
        }


def _unknown(exploration: Exploration, split: str) -> Rows:
    if split in exploration.tokens:
        for piece, count in exploration.tokens[split].unknown.most_common(NUM_UNKNOWN):
            yield {"piece": piece, "times": count}


def _labels(exploration: Exploration, names: list[str]) -> Rows:
    counts = {split: survey.labels for split, survey in exploration.surveys.items() if survey.labels}
    for name in names:
        row: dict[str, Any] = {"label": name}
        for split, labels in counts.items():
            row[split], row[f"{split} share"] = labels[name], share(labels[name], labels.total())
        yield row


def _numbers(exploration: Exploration, split: str) -> Rows:
    values = exploration.numbers.get(split, np.empty(0))
    if len(values):
        reducers = {
            "mean": np.mean,
            "deviation": np.std,
            "lowest": np.min,
            "median": np.median,
            "highest": np.max,
        }
        yield {name: float(reducer(values)) for name, reducer in reducers.items()}


def _columns(exploration: Exploration, split: str) -> Rows:
    reducers = {"lowest": np.min, "mean": np.mean, "highest": np.max}
    for name, column in exploration.surveys[split].columns.items():
        numbers = column.numbers
        counts = {"column": name, "type": column.kind, "null": column.nulls, "different": column.distinct}
        yield counts | {
            name: float(reducer(numbers)) if len(numbers) else None for name, reducer in reducers.items()
        }


def _values(exploration: Exploration, split: str) -> Rows:
    for name, column in exploration.surveys[split].columns.items():
        for value, count in column.common:
            yield {"column": name, "value": value, "rows": count}
