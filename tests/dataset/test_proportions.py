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
