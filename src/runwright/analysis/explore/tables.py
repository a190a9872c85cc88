"""Everything that was counted, as one list of tables for the terminal, the page and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.oddities import ODDITIES, SCRIPTS
from runwright.analysis.explore.survey import quantile

MAX_LABELS = 1000  # rows of the table of labels


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


def share(part: float, whole: float) -> Share:
    """0 of nothing is 0."""
    return Share(part / whole if whole else 0.0)


def tables(exploration: Exploration) -> list[Table]:
    """Those that have rows."""
    surveys, label = exploration.surveys, exploration.columns.label_column
    names = label_names(exploration)
    shown = f", {MAX_LABELS:,} shown" if len(names) > MAX_LABELS else ""
    summary = [
        ("splits", "Splits", _splits(exploration)),
        ("lengths", "Lengths of the texts", _lengths(exploration)),
        ("truncation", "What max_length cuts", _truncation(exploration)),
        ("tokens", f"Tokens of {exploration.tokenizer_name}", _tokens(exploration)),
        ("labels", f"{label}, {len(names):,} classes{shown}", _labels(exploration, names[:MAX_LABELS])),
        ("numbers", f"{label}, numbers", _numbers(exploration)),
    ]
    odd = [
        {
            "text": each.name,
            **{split: len(survey.odd.get(each.name, ())) for split, survey in surveys.items()},
        }
        for each in ODDITIES
    ]
    scripts = [
        {"script": name, **{split: int((each.scripts == number).sum()) for split, each in surveys.items()}}
        for number, name in enumerate(SCRIPTS)
    ]
    details = [
        ("unknown", "Pieces that the tokenizer does not know", _unknown(exploration)),
        ("columns", "Columns", _columns(exploration)),
        ("values", "Most frequent values", _values(exploration)),
        ("odd", "Odd texts", (row for row in odd if any(row[split] for split in surveys))),
        ("scripts", "Scripts", (row for row in scripts if any(row[split] for split in surveys))),
    ]
    every = [
        Table(name=name, title=title, rows=list(rows), is_summary=is_summary)
        for is_summary, group in ((True, summary), (False, details))
        for name, title, rows in group
    ]
    return [table for table in every if table.rows]


def label_names(exploration: Exploration) -> list[str]:
    """The classes, the most frequent of the first split first; none where labels are numbers."""
    if not exploration.are_classes:
        return []
    first, *others = (each.labels for each in exploration.surveys.values() if each.labels)
    return [
        *sorted(first, key=lambda name: (-first[name], name)),
        *sorted({name for labels in others for name in labels} - first.keys()),
    ]


Rows = Iterator[dict[str, Any]]


def _splits(exploration: Exploration) -> Rows:
    repeated = {
        (each.split, each.kind): each.rows for each in exploration.overlaps if each.split == each.other
    }
    for split, survey in exploration.surveys.items():
        yield {
            "split": split,
            "rows": survey.num_rows,
            "equal to earlier": repeated.get((split, "exact"), 0),
            "nearly equal": repeated.get((split, "near"), 0),
            "without label": survey.unlabelled,
        }


def _lengths(exploration: Exploration) -> Rows:
    for split, survey in exploration.surveys.items():
        units = {"characters": survey.characters, "words": survey.words}
        if split in exploration.tokens:
            units["tokens"] = exploration.tokens[split].lengths
        for unit, lengths in units.items():
            yield {
                "split": split,
                "unit": unit,
                "mean": float(lengths.mean()) if len(lengths) else 0.0,
                "median": quantile(lengths, 0.5),
                "95 %": quantile(lengths, 0.95),
                "99 %": quantile(lengths, 0.99),
                "longest": quantile(lengths, 1),
            }


def _truncation(exploration: Exploration) -> Rows:
    for limit in exploration.limits:
        row: dict[str, Any] = {"max_length": limit}
        for split, tokens in exploration.tokens.items():
            row[f"{split} rows"], row[f"{split} tokens"] = map(Share, tokens.cut_by(limit))
        yield row


def _tokens(exploration: Exploration) -> Rows:
    for split, tokens in exploration.tokens.items():
        yield {
            "split": split,
            "rows read": tokens.num_rows,
            "tokens a word": tokens.num_tokens / max(tokens.num_words, 1),
            "characters a token": tokens.num_characters / max(tokens.num_tokens, 1),
            "whole words": share(tokens.num_whole_words, tokens.num_words),
            "unknown": share(tokens.num_unknown, tokens.num_tokens),
            "tokens used": int(tokens.used.sum()),
            "vocabulary": len(tokens.used),
        }


def _unknown(exploration: Exploration) -> Rows:
    for split, tokens in exploration.tokens.items():
        for piece, count in tokens.unknown:
            yield {"split": split, "piece": piece, "times": count}


def _labels(exploration: Exploration, names: list[str]) -> Rows:
    counts = {split: each.labels for split, each in exploration.surveys.items() if each.labels}
    for name in names:
        row: dict[str, Any] = {"label": name}
        for split, labels in counts.items():
            row[split], row[f"{split} share"] = labels[name], share(labels[name], labels.total())
        yield row


def _numbers(exploration: Exploration) -> Rows:
    for split, values in exploration.numbers.items():
        if len(values):
            yield {
                "split": split,
                "mean": float(values.mean()),
                "deviation": float(values.std()),
                "lowest": float(values.min()),
                "median": float(np.median(values)),
                "highest": float(values.max()),
            }


def _columns(exploration: Exploration) -> Rows:
    for split, survey in exploration.surveys.items():
        for name, column in survey.columns.items():
            has_numbers = len(column.numbers) > 0
            yield {
                "split": split,
                "column": name,
                "type": column.kind,
                "null": column.nulls,
                "different": column.distinct,
                "lowest": float(column.numbers.min()) if has_numbers else None,
                "mean": float(column.numbers.mean()) if has_numbers else None,
                "highest": float(column.numbers.max()) if has_numbers else None,
            }


def _values(exploration: Exploration) -> Rows:
    for split, survey in exploration.surveys.items():
        for name, column in survey.columns.items():
            for value, count in column.common:
                yield {"split": split, "column": name, "value": value, "rows": count}
