"""Sketches against exact counts: what they promise holds for whatever comes, in whatever pieces."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.exploring.sketches import (
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
    kept, _, positions = sample.at_level(0)
    assert sample.scale == 1
    assert sorted(positions.tolist()) == list(range(len(keys)))
    assert Counter(kept.tolist()) == Counter(hashes(keys).tolist())


def test_a_sample_of_keys_holds_all_rows_of_its_keys_and_no_more_than_it_may():
    sample, other = KeySample(size=1000), KeySample(size=1000)
    for start in range(0, 20_000, 1000):
        keys = [number % 10_000 for number in range(start, start + 1000)]  # each key twice
        sample.add(hashes(keys), hashes(keys), np.arange(start, start + 1000))
    other.add(hashes(range(300)), hashes(range(300)), np.arange(300))
    kept, _, _ = sample.at_level(0)
    assert len(kept) <= 1000
    assert set(Counter(kept.tolist()).values()) == {2}
    assert len(kept) * sample.scale == pytest.approx(20_000, rel=0.25)
    shared = np.isin(other.at_level(sample.level)[0], kept)
    assert shared.all()  # the same keys are in both
