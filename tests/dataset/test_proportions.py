import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runwright.dataset.combine import largest_without_repeats
from runwright.dataset.load import whole_counts

WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)


@given(weights=WEIGHTS, total=st.integers(0, 10**7))
def test_counts_add_up_and_are_within_one_of_their_share(weights, total):
    shares = np.array(weights) / sum(weights)
    counts = whole_counts(shares, total)
    assert counts.sum() == total
    assert (np.abs(counts - shares * total) < 1 + 1e-6).all()


@given(weights=WEIGHTS, data=st.data())
def test_the_largest_mixture_fits_and_one_more_row_asks_too_much(weights, data):
    sizes = np.array(data.draw(st.lists(st.integers(1, 10**6), min_size=len(weights), max_size=len(weights))))
    shares = np.array(weights) / sum(weights)
    total = largest_without_repeats(shares, sizes)
    assert total == 1 or (whole_counts(shares, total) <= sizes).all()
    assert (shares * (total + 1) > sizes - 1e-6).any()
