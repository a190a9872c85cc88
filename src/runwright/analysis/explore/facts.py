"""What was found, as plain values for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.findings import Finding, most_frequent
from runwright.analysis.explore.sketches import LengthHistogram
from runwright.analysis.explore.survey import ColumnSurvey, SplitSurvey
from runwright.analysis.explore.tokens import TokenSurvey

FORMAT = 1  # raise when a key changes its meaning
MAX_LABELS = 1000
MAX_VALUES = 5


def facts(exploration: Exploration, findings: list[Finding]) -> dict[str, Any]:
    """Everything, with no NaN in it."""
    limits = exploration.limits
    data = exploration.data
    return {
        "format": FORMAT,
        "name": exploration.name,
        "text_columns": list(exploration.chosen.text_columns),
        "label_column": exploration.chosen.label_column,
        "tokenizer": exploration.tokenizer_name,
        "max_length": exploration.max_length,
        "notes": [*exploration.chosen.notes, *data.notes],
        "sources": data.sources,
        "parts": data.parts,
        "findings": [asdict(finding) for finding in findings],
        "splits": {
            split: {
                "fingerprint": data.fingerprints[split],
                **_split(survey),
                "tokens": _tokens(exploration.tokens.get(split), limits),
            }
            for split, survey in exploration.surveys.items()
        },
        "overlaps": [asdict(overlap) for overlap in exploration.overlaps],
        "noise": [asdict(noise) for noise in exploration.noise],
    }


def lengths(histogram: LengthHistogram) -> dict[str, float]:
    """A distribution of lengths in a few numbers."""
    return {
        "mean": round(histogram.mean, 2),
        "median": histogram.quantile(0.5),
        "p95": histogram.quantile(0.95),
        "p99": histogram.quantile(0.99),
        "longest": histogram.longest,
    }


def column_facts(column: ColumnSurvey) -> dict[str, Any]:
    """One column in a few values."""
    top = most_frequent(column)
    numbers = {}
    if math.isfinite(column.lowest):
        numbers = {"min": column.lowest, "max": column.highest, "mean": column.total / column.num_finite}
    return {
        "kind": column.kind,
        "nulls": column.nulls,
        "distinct": column.distinct.count,
        "distinct_is_exact": column.distinct.is_exact,
        "most_frequent": None if top is None else {"value": top[0], "rows": top[1]},
        "values": dict(column.frequent.most_common(MAX_VALUES)),
        **numbers,
    }


def _split(survey: SplitSurvey) -> dict[str, Any]:
    return {
        "rows": survey.num_rows,
        "characters": lengths(survey.characters),
        "words": lengths(survey.words),
        "labels": dict(survey.labels.most_common(MAX_LABELS)),
        "labels_are_exact": survey.labels.error == 0,
        "unlabelled": survey.unlabelled,
        "odd": dict(survey.odd),
        "scripts": dict(survey.scripts),
        "columns": {name: column_facts(column) for name, column in survey.columns.items()},
    }


def _tokens(tokens: TokenSurvey | None, limits: list[int]) -> dict[str, Any] | None:
    if tokens is None:
        return None
    return {
        "sampled_rows": tokens.num_rows,
        **lengths(tokens.lengths),
        "truncation": tokens.truncation(limits),
        "num_tokens": tokens.num_tokens,
        "num_unknown": tokens.num_unknown,
        "unknown": dict(tokens.unknown),
        "vocabulary_used": int(tokens.used.sum()),
        "vocabulary": len(tokens.used),
        "tokens_per_word": round(tokens.num_tokens / max(tokens.num_words, 1), 3),
        "characters_per_token": round(tokens.num_characters / max(tokens.num_tokens, 1), 3),
        "words_in_one_token": round(tokens.num_whole_words / max(tokens.num_words, 1), 4),
    }
