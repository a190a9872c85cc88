"""Metrics of tagged words: of spans, right where first word, last word and type are, and of single tags."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from runwright.metric.weighted import averaged, weighted_mean

Average = Literal["micro", "macro", "weighted"]


def span_precision(predictions: Any, weights: np.ndarray, *, average: Average) -> np.ndarray:
    """Share of the predicted spans that are right; 0 where none is, as seqeval has it."""
    return _of_spans("precision", predictions, weights, average)


def span_recall(predictions: Any, weights: np.ndarray, *, average: Average) -> np.ndarray:
    """Share of the expected spans that were predicted; 0 where none was, as seqeval has it."""
    return _of_spans("recall", predictions, weights, average)


def span_f1(predictions: Any, weights: np.ndarray, *, average: Average) -> np.ndarray:
    """Harmonic mean of precision and recall of spans; 0 where no span is right, as seqeval has it."""
    return _of_spans("f1", predictions, weights, average)


def tag_accuracy(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """Share of words with the right tag."""
    lengths = predictions.predicted.lengths
    right = (predictions.predicted.values == predictions.expected.values).astype(np.float64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return weighted_mean(np.bincount(rows, weights=right, minlength=len(lengths)), weights, sizes=lengths)


def _of_spans(
    quotient: Literal["precision", "recall", "f1"], predictions: Any, weights: np.ndarray, average: Average
) -> np.ndarray:
    counts = np.tensordot(weights, _counts_by_row(predictions).astype(np.float64), axes=1)  # [S, 3, types]
    return averaged(quotient, (counts[:, 0], counts[:, 1], counts[:, 2]), average=average, undefined=0.0)


def _counts_by_row(predictions: Any) -> np.ndarray:
    """Right, predicted and expected spans by row and type, [N, 3, types] int64."""
    predicted, expected = predictions.spans, predictions.expected_spans
    num_types = int(max(each.values[:, 2].max(initial=-1) for each in (predicted, expected))) + 1
    counts = np.zeros((len(predicted), 3, num_types), dtype=np.int64)
    spans: list[list[tuple[int, ...]]] = []  # (row, first, end, type) each
    for slot, each in ((1, predicted), (2, expected)):
        rows = np.repeat(np.arange(len(each)), each.lengths)
        cells = rows * num_types + each.values[:, 2]
        by_row = np.bincount(cells, minlength=len(counts) * num_types)
        counts[:, slot] = by_row.reshape(len(counts), num_types)
        spans.append(list(map(tuple, np.column_stack([rows, each.values]).tolist())))
    wanted = set(spans[1])
    for span in spans[0]:
        counts[span[0], 0, span[3]] += span in wanted
    return counts
