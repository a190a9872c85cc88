import hashlib

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from runwright.dataset.load import hold_out, random_order, strata_of
from runwright.errors import DataError

ids = st.lists(st.integers(0, 10**9), min_size=4, max_size=300, unique=True).map(np.array)


@given(row_ids=ids, seed=st.integers(0, 2**63), share=st.floats(0.2, 0.5))
def test_every_row_lands_in_exactly_one_split(row_ids, seed, share):
    parts = hold_out(row_ids, {"validation": share, "test": 1}, seed=seed, strata=None)
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(len(row_ids)))
    assert len(parts["validation"]) == round(share * len(row_ids))
    assert len(parts["test"]) == 1


@given(row_ids=ids, seed=st.integers(0, 2**63), data=st.data())
def test_the_order_of_rows_depends_on_their_ids_alone(row_ids, seed, data):
    shuffled = np.array(data.draw(st.permutations(row_ids.tolist())))
    first = row_ids[random_order(row_ids, seed=seed, purpose="p")]
    assert (shuffled[random_order(shuffled, seed=seed, purpose="p")] == first).all()
    fewer = row_ids[row_ids != first[0]]  # a row that is gone does not move the others
    assert (fewer[random_order(fewer, seed=seed, purpose="p")] == first[1:]).all()


def test_other_seeds_and_purposes_give_other_orders():
    rows = np.arange(100)
    orders = {tuple(random_order(rows, seed=s, purpose=p)) for s in (0, 1) for p in ("a", "b")}
    assert len(orders) == 4


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
def test_strata_are_kept_in_proportion_and_each_keeps_a_row_for_training(sizes, share, seed):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    wanted = round(share * len(strata))
    if not 0 < wanted <= len(strata) - len(sizes):
        return
    parts = hold_out(np.arange(len(strata)), {"test": share}, seed=seed, strata=strata)
    taken = np.bincount(strata[parts["test"]], minlength=len(sizes))
    left = np.bincount(strata[parts["train"]], minlength=len(sizes))
    assert taken.sum() == wanted
    assert (left >= 1).all()
    if min(sizes) > 1 / (1 - share):  # no stratum is so small that it had to keep its only row
        assert (np.abs(taken - wanted * np.array(sizes) / len(strata)) < 1 + 1e-9).all()


def test_each_value_is_a_stratum():
    for values in (["a", "b", "a", "c"], [3, 1, 3, 2], [["a"], [], ["a"], ["a", "b"]]):
        assert strata_of(Dataset.from_dict({"c": values}), "c").tolist() == [0, 1, 0, 2]


def test_texts_are_too_many_to_stratify_by():
    with pytest.raises(DataError, match="column 'text': 1001 different values"):
        strata_of(Dataset.from_dict({"text": [f"text {n}" for n in range(1001)]}), "text")


def test_shares_that_cannot_be_are_refused():
    rows = np.arange(10)
    with pytest.raises(DataError, match="leaves nothing of 10 rows"):
        hold_out(rows, {"validation": 4, "test": 6}, seed=0, strata=None)
    with pytest.raises(DataError, match="less than one row"):
        hold_out(rows, {"test": 0.01}, seed=0, strata=None)


def test_the_split_of_seed_zero_stays_what_it_was():
    # From the definition: rows ranked by blake2b("0:holdout:ID", 8 bytes), computed apart from this code.
    ranked = sorted(
        range(20), key=lambda n: hashlib.blake2b(f"0:holdout:{n}".encode(), digest_size=8).digest()
    )
    parts = hold_out(np.arange(20), {"test": 5}, seed=0, strata=None)
    assert parts["test"].tolist() == sorted(ranked[:5])
