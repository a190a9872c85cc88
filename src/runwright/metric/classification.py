"""Metrics of classes, sets of classes and tagged spans: accuracy, F1, Matthews, ROC-AUC, confusions.

Precision, recall and F1 of classes have one rule for 0/0: a class that is neither expected nor predicted is
left out of averages (and alone gives NaN); any other 0/0 counts 0. That agrees with scikit-learn's defaults,
except that scikit-learn keeps absent columns of multi-label data as 0. Those of spans are 0 where there is no
span, as seqeval has it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from runwright.config.tag_schemes import Scheme, find_spans
from runwright.errors import ConfigError, DataError
from runwright.metric.means import labels_of, ratio, weighted_mean
from runwright.predictions import Ragged
from runwright.types import Predictions, Table

Average = Literal["binary", "micro", "macro", "weighted"]  # binary: of class 1 of two
SpanAverage = Literal["micro", "macro", "weighted"]
Quotient = Literal["precision", "recall", "f1"]
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]  # how often right, predicted and expected, [S, C] each
_CELLS = 4_000_000  # numbers held at once: 32 MB in float64


def accuracy(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Share of examples that are wholly right: of multi-label ones every label (subset accuracy)."""
    right = labels_of(predictions) == predictions.predicted
    return weighted_mean(right.all(axis=1) if right.ndim == 2 else right, weights)


def label_accuracy(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Share of single yes/no labels that are right, over all examples and classes.

    Where most labels are "no", as in most multi-label data, this is near 1 for a model that never says "yes".
    """
    return weighted_mean((labels_of(predictions) == predictions.predicted).mean(axis=1), weights)


def jaccard(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Mean over examples of the labels that are right among those expected or predicted; 1 where none are.

    The official metric of SemEval-2018 E-c (Mohammad et al. 2018, "multi-label accuracy").
    """
    expected, predicted = labels_of(predictions), predictions.predicted
    shared, either = (expected & predicted).sum(axis=1), (expected | predicted).sum(axis=1)
    return weighted_mean(ratio(shared, either, undefined=1.0), weights)


def matthews(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Correlation between expected and predicted class, from -1 to 1 (Gorodkin 2004, R_K).

    0 where only one class is expected or predicted, as scikit-learn and GLUE have it; NaN without examples.
    """
    right, predicted, expected = _count_classes(predictions, weights)
    num_examples = weights.sum(axis=1)
    covariance = right.sum(axis=1) * num_examples - (expected * predicted).sum(axis=1)
    spreads = [num_examples**2 - (counts**2).sum(axis=1) for counts in (expected, predicted)]
    correlation = ratio(covariance, np.sqrt(spreads[0]) * np.sqrt(spreads[1]), undefined=0.0)
    return np.where(num_examples > 0, correlation, np.nan)


def confusion_matrix(predictions: Predictions) -> Table:
    """Numbers of examples of class i (row) that were predicted as class j (column), [C, C] int64."""
    num_classes = _num_classes(predictions)
    pairs = labels_of(predictions) * num_classes + predictions.predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def roc_auc(
    predictions: Predictions, weights: np.ndarray, *, average: Literal["binary", "macro", "micro"]
) -> np.ndarray:
    """Chance that an example of a class has a higher score of it than one of another class.

    binary: of class 1 of two; macro: mean over classes with both sides; micro: all (example, class) pairs.
    """
    scores, expected = predictions.scores, labels_of(predictions)
    if scores is None:
        raise DataError("ROC-AUC needs the score of each class, and these predictions have none")
    num_classes = scores.shape[1]
    if expected.ndim == 1:
        expected = expected[:, None] == np.arange(num_classes)
    if average == "binary":
        if num_classes != 2:
            raise ConfigError(f"metric 'roc_auc' judges two classes, not {num_classes}; take roc_auc_macro")
        return _area(scores[:, 1], expected[:, 1], weights)
    if average == "macro":
        by_class = np.stack([_area(scores[:, c], expected[:, c], weights) for c in range(num_classes)])
        defined = ~np.isnan(by_class)
        return ratio(np.where(defined, by_class, 0.0).sum(axis=0), defined.sum(axis=0), undefined=np.nan)
    rows = max(1, _CELLS // max(1, scores.size))  # pairs are C times as many as examples
    blocks = [weights[start : start + rows] for start in range(0, len(weights), rows)]
    pooled = (np.repeat(block, num_classes, axis=1) for block in blocks)
    return np.concatenate([_area(scores.ravel(), expected.ravel(), block) for block in pooled])


def class_score(
    predictions: Predictions, weights: np.ndarray, *, score: Quotient, average: Average
) -> np.ndarray:
    """Precision, recall or F1 of classes; `macro` averages those of the single classes.

    Precision is the share of the examples predicted as a class that are of it, recall the share of those of
    it that are predicted so, F1 their harmonic mean.
    """
    right, predicted, expected = _count_classes(predictions, weights)
    if average == "binary":
        num_classes = None if predictions.scores is None else predictions.scores.shape[1]
        if predictions.predicted.ndim == 2 or num_classes not in (None, 2):
            problem = f"metric {score!r} judges two classes, not {num_classes}"
            raise ConfigError(f"{problem}; take {score}_macro, {score}_micro or {score}_weighted")
        right, predicted, expected = right[:, 1:2], predicted[:, 1:2], expected[:, 1:2]
    return _averaged(score, (right, predicted, expected), average=average, undefined=np.nan)


def _count_classes(predictions: Predictions, weights: np.ndarray) -> Counts:
    """Counts of right, predicted and expected examples by class, [S, C] float64: whole numbers, so exact.

    For multi-label examples a class is expected or predicted where its column is true.
    """
    expected, predicted = labels_of(predictions), predictions.predicted
    if predicted.ndim == 2:
        sides = (expected & predicted, predicted, expected)
        right, predicted, expected = (weights @ side.astype(np.float64) for side in sides)
        return right, predicted, expected
    num_classes = _num_classes(predictions)

    def tally(classes: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
        rows = [np.bincount(classes, weights=row, minlength=num_classes) for row in of_classes]
        return np.array(rows).reshape(len(weights), -1)

    right = expected == predicted
    return tally(expected[right], weights[:, right]), tally(predicted, weights), tally(expected, weights)


def _area(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area [S] under weights [S, N]; NaN without both sides or with a NaN score."""
    if np.isnan(scores).any() or not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) != 0]))
    weights = weights[:, order]
    positives = np.add.reduceat(weights * positive[order], starts, axis=1)
    negatives = np.add.reduceat(weights, starts, axis=1) - positives
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)  # halves of whole numbers: exact below 2**52
    return ratio(wins, positives.sum(axis=1) * negatives.sum(axis=1), undefined=np.nan)


def _num_classes(predictions: Predictions) -> int:
    """The number of score columns; where there are no scores, the highest class met plus one."""
    if predictions.scores is not None:
        return predictions.scores.shape[1]
    return int(np.concatenate([predictions.predicted, labels_of(predictions)]).max(initial=-1)) + 1


def span_score(predictions: Any, weights: np.ndarray, *, score: Quotient, average: SpanAverage) -> np.ndarray:
    """Precision, recall or F1 of spans; 0 where none is right, as seqeval has it."""
    counts = np.tensordot(weights, count_spans(predictions).astype(np.float64), axes=1)  # [S, 3, types]
    return _averaged(score, (counts[:, 0], counts[:, 1], counts[:, 2]), average=average, undefined=0.0)


def tag_accuracy(predictions: Any, weights: np.ndarray) -> np.ndarray:
    """Share of words with the right tag."""
    lengths = predictions.predicted.lengths
    right = (predictions.predicted.values == predictions.expected.values).astype(np.float64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return weighted_mean(np.bincount(rows, weights=right, minlength=len(lengths)), weights, sizes=lengths)


def spans_of(rows: Sequence[Sequence[str]], types: Sequence[str], scheme: Scheme) -> Ragged:
    """[N] rows of spans [S, 3] int64 from tags: first word, one past the last, index of the type."""
    spans = [find_spans(row, scheme=scheme) for row in rows]
    numbers = [[(span.start, span.end, types.index(span.type)) for span in row] for row in spans]
    return Ragged.of(numbers, dtype=np.int64, width=3)


def count_spans(predictions: Any) -> np.ndarray:
    """Right, predicted and expected spans by row and type, [N, 3, types] int64."""
    predicted, expected = predictions.spans, predictions.expected_spans
    num_types = int(max(spans.values[:, 2].max(initial=-1) for spans in (predicted, expected))) + 1
    counts = np.zeros((len(predicted), 3, num_types), dtype=np.int64)
    cells: list[list[tuple[int, ...]]] = []  # (row, first, end, type) each
    for slot, spans in ((1, predicted), (2, expected)):
        rows = np.repeat(np.arange(len(spans)), spans.lengths)
        numbers = np.bincount(rows * num_types + spans.values[:, 2], minlength=len(counts) * num_types)
        counts[:, slot] = numbers.reshape(len(counts), num_types)
        cells.append(list(map(tuple, np.column_stack([rows, spans.values]).tolist())))
    wanted = set(cells[1])
    for span in cells[0]:
        counts[span[0], 0, span[3]] += span in wanted
    return counts


def _averaged(quotient: Quotient, counts: Counts, *, average: str, undefined: float) -> np.ndarray:
    """Precision, recall or F1 [S] from how often each class was right, predicted and expected, [S, C] each.

    micro: of all classes pooled; macro: mean over the classes that occur; weighted: that mean by how often
    they are expected. 0 for a class that occurs and is never right; `undefined` where no class occurs.
    """
    right, predicted, expected = counts
    if average == "micro":
        right, predicted, expected = (column.sum(axis=1, keepdims=True) for column in counts)
    numerator = 2 * right if quotient == "f1" else right
    denominators = {"precision": predicted, "recall": expected, "f1": predicted + expected}
    by_class = ratio(numerator, denominators[quotient], undefined=0.0)
    importance = expected if average == "weighted" else (predicted + expected > 0).astype(np.float64)
    return ratio((by_class * importance).sum(axis=1), importance.sum(axis=1), undefined=undefined)
