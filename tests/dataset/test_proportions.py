import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runwright.dataset.load import whole_counts

WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)


@given(weights=WEIGHTS, total=st.integers(0, 10**7))
def test_counts_add_up_and_are_within_one_of_their_share(weights, total):
    shares = np.array(weights) / sum(weights)
    counts = whole_counts(shares, total, room=np.full(len(weights), total))
    assert counts.sum() == total
    assert (np.abs(counts - shares * total) < 1 + 1e-6).all()


def test_the_largest_remainders_are_rounded_up_and_of_equal_ones_the_first():
    def counts(shares, total, room=9):
        shares = np.array(shares)
        return whole_counts(shares, total, room=np.broadcast_to(room, shares.shape)).tolist()

    assert counts([1, 1, 1], 2) == [1, 1, 0]
    assert counts([2, 3, 5], 4) == [1, 1, 2]
    assert counts([6, 3, 1], 5, room=[2, 9, 9]) == [2, 2, 1]
