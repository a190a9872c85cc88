"""Counts by hashes and lengths against counts of the values themselves."""

import numpy as np
from datasets import Dataset, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.analysis.explore.survey import (
    MAX_CLASSES,
    Columns,
    find_noise,
    hashes_of,
    id_columns,
    quantile,
    repeated,
    survey,
)

LENGTHS = st.lists(st.one_of(st.integers(0, 100), st.integers(0, 10**7)), min_size=1, max_size=60)
KEYS = st.lists(st.integers(0, 50), max_size=200)


def hashes(numbers):
    return hashes_of(str(number) for number in numbers)


def surveyed(rows):
    return survey(
        Dataset.from_dict({"text": [str(key) for key, _ in rows], "label": [label for _, label in rows]}),
        Columns(text_columns=("text",), label_column="label"),
    )


@given(lengths=LENGTHS, share=st.floats(0, 1))
def test_quantiles_are_lengths_that_came(lengths, share):
    assert (
        quantile(np.array(lengths), share) == sorted(lengths)[max(1, int(np.ceil(share * len(lengths)))) - 1]
    )


def test_no_lengths_have_quantile_zero():
    assert quantile(np.empty(0, np.int64), 0.5) == 0


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.one_of(st.none(), st.integers(0, 60)), min_size=1, max_size=40))
def test_an_id_is_a_column_whose_values_all_differ(values):
    is_id = len(values) >= 20 and len(set(values)) == len(values)
    rows = Dataset.from_dict({"x": values, "used": values}).cast_column("x", Value("int64"))
    assert list(id_columns(rows, ["used"])) == ["x"] * is_id


def test_ids_are_told_from_texts_and_measurements():
    column = list(range(3000))
    rows = {
        "word": list(map(str, column)),
        "text": [f"text {n}" for n in column],
        "cm": [n / 7 for n in column],
    }
    rows["twice"] = [*column[:-1], 0]
    assert list(id_columns(Dataset.from_dict({**rows, "row_id": column, "user id": [1] * 3000}), ())) == [
        *("word", "user id")
    ]


@given(keys=KEYS, others=KEYS)
def test_a_repeated_row_is_one_that_came_before_or_in_the_other_split(keys, others):
    one = hashes(keys)
    assert repeated(one, hashes(others)).tolist() == [key in others for key in keys]
    assert repeated(one, one).tolist() == [keys.index(key) < n for n, key in enumerate(keys)]


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, "x", "y", "z"])), max_size=60))
def test_the_first_label_of_a_text_and_the_first_other_one_are_known(rows):
    expected, noisy = [], set()
    for key in dict.fromkeys(key for key, _ in rows):
        own = [n for n, (other, label) in enumerate(rows) if other == key and label is not None]
        others = [n for n in own if rows[n][1] != rows[own[0]][1]]
        expected += [[own[0], others[0]]] if others else []
        noisy |= {key} if others else set()
    positions, pairs = find_noise(surveyed(rows))
    assert sorted(pairs.tolist()) == sorted(expected)
    assert positions.tolist() == [n for n, (key, _) in enumerate(rows) if key in noisy]


def test_labels_that_are_nearly_all_different_are_no_classes():
    found = surveyed([(n, str(n)) for n in range(MAX_CLASSES + 1)])
    assert not found.labels
    assert surveyed([(n, str(n)) for n in range(MAX_CLASSES)]).labels.total() == MAX_CLASSES
