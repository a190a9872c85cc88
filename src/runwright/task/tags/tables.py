"""Spans of rows in words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runwright.config.tag_schemes import type_of
from runwright.task.tags.columns import TagColumns, words_of_rows
from runwright.task.tags.results import TagResults
from runwright.task.tags.spans import TagSet
from runwright.task.words import trimmed


def describe_spans(
    results: TagResults,
    place: int,
    *,
    row: Mapping[str, Any],
    columns: TagColumns,
    tag_set: TagSet,
    aggregation: str,
    all_scores: bool,
) -> dict[str, Any]:
    """`predicted` and `expected` as lists of spans with type, text, characters and score."""
    texts, spans = words_of_rows({name: [value] for name, value in row.items()}, columns)
    text, words, types = texts[0], spans[0], tag_set.types

    def span(start: int, end: int, kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "text": text[start:end], "start": start, "end": end, **more}

    def of_words(spans: np.ndarray, scores: np.ndarray | None) -> list[dict[str, Any]]:
        found = []
        for first, last, kind in spans.tolist():
            more = {} if scores is None else {"score": round(float(scores[first:last].mean()), 6)}
            found.append(span(words[first][0], words[last - 1][1], types[kind], **more))
        return found

    if aggregation in ("none", "simple"):
        pieces, scores = results.pieces.row(place), results.piece_scores.row(place)
        described = [
            span(*trimmed(text, start, end), kind, score=round(score, 6))
            for start, end, kind, score in _of_pieces(
                pieces, scores, tag_set, grouped=aggregation == "simple"
            )
        ]
    else:
        described = of_words(results.spans.row(place), results.scores.row(place))
    found: dict[str, Any] = {"predicted": described}
    if results.expected_spans is not None:
        found["expected"] = of_words(results.expected_spans.row(place), None)
    if all_scores:
        tags, confidence = results.predicted.row(place).tolist(), results.scores.row(place).tolist()
        found["scores"] = [
            {"word": text[start:end], "tag": tag_set.names[tag], "score": round(score, 6)}
            for (start, end), tag, score in zip(words, tags, confidence, strict=True)
        ]
    return found


def type_table(results: TagResults, types: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """`spans`: precision, recall and F1 of each type.

    `span_confusion`: expected spans against those that overlap them.
    """
    if results.expected_spans is None:
        return {}
    right, claimed, support, pairs = Counter(), Counter(), Counter(), Counter()
    for found, wanted in zip(results.spans.rows(), results.expected_spans.rows(), strict=True):
        predicted, expected = [tuple(s) for s in found.tolist()], [tuple(s) for s in wanted.tolist()]
        claimed.update(kind for *_, kind in predicted)
        support.update(kind for *_, kind in expected)
        right.update(kind for *_, kind in set(predicted) & set(expected))
        pairs.update(_pairs(predicted, expected))
    table = [
        {
            "type": name,
            "precision": _ratio(right[kind], claimed[kind]),
            "recall": _ratio(right[kind], support[kind]),
            "f1": _ratio(2 * right[kind], claimed[kind] + support[kind]),
            "support": support[kind],
            "predicted": claimed[kind],
        }
        for kind, name in enumerate(types)
    ]
    confusion = [
        {
            "expected": "nothing" if one is None else types[one],
            "predicted": "nothing" if other is None else types[other],
            "boundaries": boundaries,
            "count": count,
        }
        for (one, other, boundaries), count in sorted(pairs.items(), key=lambda item: -item[1])
    ]
    return {"spans": table, "span_confusion": confusion}


def _of_pieces(
    pieces: np.ndarray, scores: np.ndarray, tag_set: TagSet, *, grouped: bool
) -> list[tuple[int, int, str, float]]:
    """Characters, type and score of spans of pieces: each piece by itself, or neighbours together."""
    if grouped:
        cuts = [
            (start, end, tag_set.types[kind]) for start, end, kind in tag_set.spans(pieces[:, 3].tolist())
        ]
    else:
        kinds = [type_of(tag_set.names[tag], tag_set.scheme) for tag in pieces[:, 3].tolist()]
        cuts = [(i, i + 1, kind) for i, kind in enumerate(kinds) if kind is not None]
    return [
        (int(pieces[start, 1]), int(pieces[end - 1, 2]), kind, float(scores[start:end].mean()))
        for start, end, kind in cuts
    ]


def _pairs(
    predicted: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]
) -> list[tuple[int | None, int | None, str]]:
    """What each expected span was taken for, and predicted spans where there is none."""
    found: list[tuple[int | None, int | None, str]] = []
    touched: set[tuple[int, ...]] = set()
    for wanted in expected:
        overlapping = [span for span in predicted if span[0] < wanted[1] and wanted[0] < span[1]]
        touched.update(overlapping)
        if overlapping:
            best = max(overlapping, key=lambda span: _likeness(span, wanted))
            found.append((wanted[2], best[2], "same" if best[:2] == wanted[:2] else "other"))
        else:
            found.append((wanted[2], None, ""))
    found += [(None, span[2], "") for span in predicted if span not in touched]
    return found


def _likeness(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[bool, int]:
    return one[:2] == other[:2], min(one[1], other[1]) - max(one[0], other[0])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
