"""Columns of predictions: ragged rows, choosing, joining, and the way between processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runwright.predictions import Ragged, join, pack, select, unpack

ROWS = st.lists(st.lists(st.integers(min_value=-9, max_value=9), max_size=4), min_size=1, max_size=8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tags:
    """A record as a task of its own would have it."""

    example_ids: np.ndarray
    predicted: Ragged
    expected: Ragged | None = None
    losses: np.ndarray | None = None
    loss_counts: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def labelled(self) -> bool:
        return self.expected is not None


def tags(rows: list[list[int]]) -> Tags:
    return Tags(example_ids=np.arange(len(rows)), predicted=Ragged.of(rows, dtype=np.int64))


def lists(column: Ragged) -> list[list[int]]:
    return [row.tolist() for row in column.rows()]


@given(ROWS)
def test_ragged_rows_come_back_as_they_were(rows: list[list[int]]) -> None:
    column = Ragged.of(rows, dtype=np.int64)
    assert lists(column) == rows
    assert [column.row(place).tolist() for place in range(len(rows))] == rows


@given(ROWS, st.data())
def test_chosen_rows_are_those_of_a_list(rows: list[list[int]], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(min_value=0, max_value=len(rows) - 1), max_size=10))
    column = Ragged.of(rows, dtype=np.int64)
    assert lists(column[np.array(places, dtype=np.int64)]) == [rows[place] for place in places]
    mask = np.array([place in places for place in range(len(rows))])
    assert lists(column[mask]) == [row for place, row in enumerate(rows) if place in places]


@given(ROWS)
def test_parts_in_any_order_make_the_same_whole(rows: list[list[int]]) -> None:
    whole = tags(rows)
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    parts = [select(whole, np.array([place])) for place in order]
    joined = join(parts)
    assert joined.example_ids.tolist() == list(range(len(rows)))
    assert lists(joined.predicted) == rows
    assert joined.losses is None


@given(ROWS)
def test_a_record_survives_the_way_to_another_process(rows: list[list[int]]) -> None:
    sent = tags(rows)
    received = unpack(Tags, pack(sent))
    assert lists(received.predicted) == rows
    assert received.example_ids.tolist() == sent.example_ids.tolist()
    assert received.expected is None
    assert not received.labelled
