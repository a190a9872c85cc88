"""Sketches against exact counts: what they promise holds for whatever comes, in whatever pieces."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.analysis.explore.sketches import (
    NO_LABEL,
    DistinctCounter,
    FrequentValues,
    KeySample,
    LengthHistogram,
    hashes_of,
)

LENGTHS = st.lists(st.one_of(st.integers(0, 100), st.integers(0, 10**7)), min_size=1, max_size=60)


def hashes(numbers):
    return hashes_of(str(number).encode() for number in numbers)


@given(lengths=LENGTHS, share=st.floats(0, 1), limit=st.integers(0, 8000), cut=st.integers(0, 60))
def test_lengths_are_exact_below_8192_and_within_one_percent_above(lengths, share, limit, cut):
    histogram = LengthHistogram()
    for piece in (lengths[:cut], lengths[cut:]):
        histogram.add(np.array(piece, dtype=np.int64))
    exact = np.sort(lengths)
    assert (histogram.num, histogram.total, histogram.longest) == (len(exact), exact.sum(), exact[-1])
    expected = exact[max(1, int(np.ceil(share * len(exact)))) - 1]
    assert histogram.quantile(share) == pytest.approx(expected, rel=0 if expected < 8192 else 0.01)
    assert histogram.share_over(limit) == pytest.approx((exact > limit).mean())
    lost = np.maximum(exact - limit, 0).sum()
    assert histogram.share_lost(limit) == pytest.approx(lost / exact.sum() if exact.sum() else 0)


@given(numbers=st.lists(st.integers(0, 300), max_size=400))
def test_few_different_values_are_counted_exactly(numbers):
    counter = DistinctCounter(size=512)
    for start in range(0, len(numbers), 7):
        counter.add(hashes(numbers[start : start + 7]))
    assert counter.is_exact
    assert counter.count == len(set(numbers))


@pytest.mark.parametrize("different", [5_000, 60_000])
def test_many_different_values_are_counted_within_a_few_percent(different):
    counter = DistinctCounter(size=4096)
    for start in range(0, 2 * different, 5000):
        counter.add(hashes(number % different for number in range(start, start + 5000)))
    assert counter.count == pytest.approx(different, rel=5 / np.sqrt(4096))  # five standard deviations


@settings(deadline=None)
@given(values=st.lists(st.sampled_from("abcdefghij"), max_size=300), size=st.integers(1, 12))
def test_frequent_values_are_never_overcounted_and_missed_by_no_more_than_the_error(values, size):
    frequent = FrequentValues(size)
    for start in range(0, len(values), 10):
        frequent.add(Counter(values[start : start + 10]))
    exact = Counter(values)
    assert frequent.num == len(values)
    assert len(frequent.counts) <= size
    for value, count in exact.items():
        assert count - frequent.error <= frequent.counts[value] <= count
    assert frequent.error * (size + 1) <= len(values)
    if len(exact) <= size:
        assert frequent.counts == exact


@settings(deadline=None, max_examples=50)
@given(keys=st.lists(st.integers(0, 50), max_size=200), cut=st.integers(1, 50))
def test_all_rows_are_kept_while_they_fit(keys, cut):
    sample = KeySample(size=1000)
    for start in range(0, len(keys), cut):
        piece = keys[start : start + cut]
        places = np.arange(start, start + len(piece))
        sample.add(hashes(piece), hashes(["x"] * len(piece)), places)
    kept = sample.at_level(0)
    assert sample.scale == 1
    assert dict(zip(kept.hashes.tolist(), kept.rows.tolist(), strict=True)) == Counter(hashes(keys).tolist())
    for place, key in enumerate(kept.hashes):
        rows = np.flatnonzero(hashes(keys) == key).tolist()
        assert [kept.first[place], kept.second[place]] == [*rows, -1][:2]


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([NO_LABEL, 1, 2, 3])), max_size=60),
    cut=st.integers(1, 20),
)
def test_the_first_label_of_a_key_and_the_first_other_one_are_known(rows, cut):
    sample = KeySample()
    labels = np.array([label for _, label in rows], dtype=np.uint64)
    for start in range(0, len(rows), cut):
        places = np.arange(start, min(start + cut, len(rows)))
        sample.add(hashes([key for key, _ in rows[start : start + cut]]), labels[places], places)
        sample.at_level(0)  # in between changes nothing
    kept = sample.at_level(0)
    for place, key in enumerate(kept.hashes):
        own = np.flatnonzero((hashes([key for key, _ in rows]) == key) & (labels != NO_LABEL))
        others = own[labels[own] != labels[own[:1]].max(initial=0)]
        assert kept.other_label[place] == (others[0] if len(others) else -1)
        if len(own):
            assert (kept.first_labelled[place], kept.label[place]) == (own[0], labels[own[0]])


def test_a_frequent_key_takes_the_room_of_one():
    sample = KeySample(size=5000)
    for start in range(0, 100_000, 10_000):
        places = np.arange(start, start + 10_000)
        keys = np.where(places % 2, 0, places // 25)  # half of the rows have the same key
        sample.add(hashes(keys.tolist()), hashes(["x"] * 10_000), places)
    kept = sample.at_level(0)
    assert sample.scale == 1
    assert int(kept.rows.sum()) == 100_000
    assert int(kept.rows.max()) > 50_000 - 25


def test_a_sample_of_keys_holds_all_rows_of_its_keys_and_no_more_than_it_may():
    sample, other = KeySample(size=1000), KeySample(size=1000)
    for start in range(0, 20_000, 1000):
        keys = [number % 10_000 for number in range(start, start + 1000)]  # each key twice
        sample.add(hashes(keys), hashes(keys), np.arange(start, start + 1000))
    other.add(hashes(range(300)), hashes(range(300)), np.arange(300))
    kept = sample.at_level(0)
    assert len(kept.hashes) <= 1000
    assert set(kept.rows.tolist()) == {2}
    assert kept.rows.sum() * sample.scale == pytest.approx(20_000, rel=0.25)
    shared = np.isin(other.at_level(sample.level).hashes, kept.hashes)
    assert shared.all()  # the same keys are in both
