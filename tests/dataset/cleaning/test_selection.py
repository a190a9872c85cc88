import pytest
from datasets import Dataset

from runwright.dataset.cleaning.texts import (
    FilterPattern,
    FilterRange,
    KeepValues,
    Sort,
)
from runwright.errors import DataError


def kept(step, values):
    return step({"train": Dataset.from_dict({"a": values})})["train"]["a"][:]


def test_rows_are_chosen_by_value_range_and_pattern():
    assert kept(KeepValues(column="a", values=["x", None]), ["x", "y", None]) == ["x", None]
    assert kept(KeepValues(column="a", values=["1"]), [1.0, 2.0]) == [1.0]
    assert kept(FilterRange(column="a", min=2, max=3), [1, 2, 3, 4, None]) == [2, 3]
    assert kept(FilterRange(column="a", min=None, max=0.5), [0.4, 0.6]) == [0.4]
    assert kept(FilterPattern(column="a", pattern="^b", keep=True), ["ab", "ba", None]) == ["ba"]
    assert kept(FilterPattern(column="a", pattern="^b", keep=False), ["ab", "ba", None]) == ["ab", None]


@pytest.mark.parametrize(
    ("descending", "values", "expected"),
    [
        (False, [3, None, 1, 2], [1, 2, 3, None]),
        (True, [3, None, 1, 2], [3, 2, 1, None]),
        (False, ["b", "B", "a"], ["B", "a", "b"]),
    ],
)
def test_rows_are_sorted_with_null_last(descending, values, expected):
    assert kept(Sort(column="a", descending=descending), values) == expected


def test_equal_rows_stay_in_their_order_and_a_list_has_none(load):
    rows = Dataset.from_dict({"a": [1, 0, 1, 0] * 5, "row_id": list(range(20))})
    for descending in (False, True):
        data = load({"train": rows}, cleaning=[Sort(column="a", descending=descending)])
        zeros, ones = list(range(1, 20, 2)), list(range(0, 20, 2))
        assert data.splits["train"]["row_id"][:] == ([*ones, *zeros] if descending else [*zeros, *ones])
    with pytest.raises(DataError, match="row 0, column 'a': only numbers and texts have an order"):
        kept(Sort(column="a", descending=False), [[1], [2]])


def test_rows_of_a_file_that_is_stored_in_several_batches_are_sorted(read, write, load, monkeypatch):
    monkeypatch.setattr("runwright.dataset.readers.streams.BATCH_ROWS", 3)
    numbers = [number * 7 % 10 for number in range(10)]
    path = write("a.csv", "text,a\n" + "".join(f"t{number},{number}\n" for number in numbers))
    data = load(read("csv", files={"train": path}), cleaning=[Sort(column="a", descending=False)])
    assert data.splits["train"]["text"][:] == [f"t{number}" for number in range(10)]


def test_values_that_no_row_has_are_noted(read, write, load):
    path = write("a.csv", "text,label\na,NO\nb,EN\nc,EN\n")
    step = KeepValues(column="label", values=["no", "EN", "1e3"])
    data = load(read("csv", files={"train": path}), cleaning=[step])
    assert data.notes == [
        "KeepValues: no row has 'no', '1e3' in 'label'; there are EN, NO",
        "KeepValues dropped 1 of 3 rows of train",
    ]


def test_values_may_lie_in_a_file_which_is_read_again_when_it_has_changed(write):
    path = write("ids.txt", "x\nq 1\n\n")
    assert kept(KeepValues(column="a", values=path), ["x", "y", "q 1", ""]) == ["x", "q 1"]
    write("ids.txt", "y")
    assert kept(KeepValues(column="a", values=path), ["x", "y", "q 1", ""]) == ["y"]


def test_a_selection_that_cannot_work_says_why():
    with pytest.raises(DataError, match="column 'a': a range needs numbers; put CastColumns before it"):
        kept(FilterRange(column="a", min=1, max=None), ["x"])
