"""Predictions of every kind of problem, from seeded random numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from runwright.types import Predictions

Make = Callable[..., Predictions]


@pytest.fixture(scope="session")  # so that hypothesis may ask for it
def as_predictions() -> Make:
    """Predictions from what is predicted and expected."""

    def make(predicted: object, expected: object, scores: object = None) -> Predictions:
        values = np.asarray(predicted)
        return Predictions(
            example_ids=np.arange(len(values)),
            predicted=values,
            expected=None if expected is None else np.asarray(expected),
            scores=None if scores is None else np.asarray(scores, dtype=np.float64),
            losses=None,
        )

    return make


@pytest.fixture
def single_label(as_predictions: Make) -> Make:
    """Examples of `num_classes`, right more often than not."""

    def make(num_examples: int = 200, num_classes: int = 4, seed: int = 0) -> Predictions:
        generator = np.random.default_rng(seed)
        expected = generator.integers(num_classes, size=num_examples)
        scores = generator.random((num_examples, num_classes)).round(2) + 0.01  # rounded: with ties
        scores[np.arange(num_examples), expected] += 0.3
        scores /= scores.sum(axis=1, keepdims=True)
        return as_predictions(scores.argmax(axis=1), expected, scores)

    return make


@pytest.fixture
def multi_label(as_predictions: Make) -> Make:
    """Examples with any number of labels."""

    def make(num_examples: int = 200, num_classes: int = 4, seed: int = 0) -> Predictions:
        generator = np.random.default_rng(seed)
        scores = generator.random((num_examples, num_classes)).round(2)
        expected = scores + generator.normal(scale=0.4, size=scores.shape) > 0.6
        return as_predictions(scores > 0.5, expected, scores)

    return make


@pytest.fixture
def regression(as_predictions: Make) -> Make:
    """Numbers with noise, rounded so that some are tied."""

    def make(num_examples: int = 200, seed: int = 0) -> Predictions:
        generator = np.random.default_rng(seed)
        expected = generator.normal(size=num_examples).round(1)
        return as_predictions((expected + generator.normal(size=num_examples)).round(1), expected)

    return make
