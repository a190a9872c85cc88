"""Counts by hashes and lengths against counts of the values themselves."""

import json
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.analysis.explore.survey import (
    MAX_CLASSES,
    find_noise,
    first_equal,
    hashes_of,
    quantile,
    survey,
    survey_column,
)

LENGTHS = st.lists(st.one_of(st.integers(0, 100), st.integers(0, 10**7)), min_size=1, max_size=60)
KEYS = st.lists(st.integers(0, 50), max_size=200)


def hashes(numbers):
    return hashes_of(str(number) for number in numbers)


def surveyed(rows):
    return survey(
        Dataset.from_dict({"text": [str(key) for key, _ in rows], "label": [label for _, label in rows]}),
        split="train",
        text_columns=["text"],
        label_column="label",
        labels_of=lambda label: [] if label is None else [label],
    )


@given(lengths=LENGTHS, share=st.floats(0, 1))
def test_quantiles_are_lengths_that_came(lengths, share):
    assert (
        quantile(np.array(lengths), share) == sorted(lengths)[max(1, int(np.ceil(share * len(lengths)))) - 1]
    )


def test_no_lengths_have_quantile_zero():
    assert quantile(np.empty(0, np.int64), 0.5) == 0


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.one_of(st.none(), st.sampled_from("abcdefghij")), min_size=1, max_size=300))
def test_different_and_frequent_values_are_counted_exactly(values):
    column = survey_column(Dataset.from_dict({"x": values}), "x")
    exact = Counter(value for value in values if value is not None)
    assert (column.num, column.nulls, column.distinct) == (len(values), values.count(None), len(exact))
    assert list(column.common) == exact.most_common(5)


def test_many_different_values_are_counted_exactly():
    rows = Dataset.from_dict({"x": [str(number % 60_000) for number in range(61_000)]})
    column = survey_column(rows, "x")
    assert (column.distinct, column.common[0]) == (60_000, ("0", 2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1, 2], [1, 2], None], json.dumps([1, 2])),
        ([True, True, False], "true"),
        ([2.0, 2.0, float("nan")], "2"),
        (["x" * 300] * 2, "x" * 199 + "…"),
    ],
)
def test_values_of_any_type_are_counted_by_their_text(values, expected):
    column = survey_column(Dataset.from_dict({"x": values}), "x")
    assert column.common[0] == (expected, 2)


@given(keys=KEYS, others=KEYS)
def test_the_first_equal_row_is_known(keys, others):
    across = first_equal(hashes(keys), hashes(others), is_within=False)
    assert across.tolist() == [others.index(key) if key in others else -1 for key in keys]
    within = first_equal(hashes(keys), hashes(keys), is_within=True)
    assert within.tolist() == [first if (first := keys.index(key)) < n else -1 for n, key in enumerate(keys)]


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, "x", "y", "z"])), max_size=60))
def test_the_first_label_of_a_text_and_the_first_other_one_are_known(rows):
    expected = []
    for key in dict.fromkeys(key for key, _ in rows):
        own = [n for n, (other, label) in enumerate(rows) if other == key and label is not None]
        others = [n for n in own if rows[n][1] != rows[own[0]][1]]
        expected += [(others[0], own[0])] if others else []
    noise = next(find_noise(surveyed(rows)), None)
    assert (list(noise.examples) if noise else []) == sorted(expected)[:5]
    assert (noise.texts if noise else 0) == len(expected)


def test_labels_that_are_nearly_all_different_are_no_classes():
    found = surveyed([(n, str(n)) for n in range(MAX_CLASSES + 1)])
    assert not found.labels
    assert surveyed([(n, str(n)) for n in range(MAX_CLASSES)]).labels.total() == MAX_CLASSES
