import pytest
from datasets import Dataset

from runwright.dataset.cleaning.columns import CastColumns, DropColumns, MapValues
from runwright.dataset.cleaning.passes import renamed
from runwright.errors import ConfigError, DataError


def rows(**columns):
    return {"train": Dataset.from_dict(columns)}


def column(step, values):
    return step(rows(a=values))["train"]["a"][:]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("int", ["1", " 20 ", "", None, "-3"], [1, 20, None, None, -3]),
        ("int", [1.0, -2.0, None], [1, -2, None]),
        ("float", ["0.5", "1e3", ""], [0.5, 1000.0, None]),
        ("string", [3.0, 0.25, None], ["3", "0.25", None]),
        ("string", [7, 8], ["7", "8"]),
        ("string", [True, False], ["true", "false"]),
        ("string", [["One.", "Two."], [], None], ["One. Two.", "", None]),
        ("bool", ["yes", "False", "1", ""], [True, False, True, None]),
        ("bool", [1, 0], [True, False]),
    ],
)
def test_values_become_the_type_asked_for(kind, values, expected):
    assert column(CastColumns(columns={"a": kind}), values) == expected


@pytest.mark.parametrize(
    ("kind", "values", "row"),
    [
        ("int", ["1", "1.5"], 1),
        ("float", ["x"], 0),
        ("int", [0.5], 0),
        ("float", ["inf"], 0),
        ("bool", [2], 0),
        ("int", ["99999999999999999999"], 0),
        ("int", ["1_000"], 0),
        ("float", ["1_0.5"], 0),
    ],
)
def test_a_value_that_cannot_be_cast_is_named_by_its_row(kind, values, row):
    with pytest.raises(DataError, match=rf"row {row}, column 'a': .* cannot be {kind}"):
        column(CastColumns(columns={"a": kind}), values)


def test_a_column_that_has_its_type_already_is_left_as_it_is():
    before = rows(a=[1, 2])
    assert CastColumns(columns={"a": "int"})(before)["train"] is before["train"]


def test_columns_are_left_out():
    splits = rows(text=["x"], b=[1])
    assert DropColumns(columns=["b"])(splits)["train"].column_names == ["text"]
    with pytest.raises(DataError, match="column 'c': no such column; columns: 'text', 'b'"):
        DropColumns(columns=["c"])(splits)


def test_labels_of_two_sources_become_the_same_names():
    by_number = MapValues(column="a", values={"0": "negative", "1": "positive"}, others="error")
    assert column(by_number, [1, 0]) == ["positive", "negative"]
    assert column(by_number, [1.0, 0.0]) == ["positive", "negative"]
    by_name = MapValues(column="a", values={"pos": "positive"}, others="keep")
    assert column(by_name, ["pos", "neutral", None]) == ["positive", "neutral", None]


def test_values_that_are_not_listed_are_kept_dropped_or_refused():
    values = {"a": 1, "b": 2}
    assert column(MapValues(column="a", values=values, others="drop"), ["b", "c", "a"]) == [2, 1]
    with pytest.raises(DataError, match=r"row 1, column 'a': 'c' is none of the values to map: 'a', 'b'"):
        column(MapValues(column="a", values=values, others="error"), ["b", "c"])
    with pytest.raises(ConfigError, match="not listed and no int"):
        column(MapValues(column="a", values=values, others="keep"), ["b", "c"])
    with pytest.raises(ConfigError, match="values of one type"):
        column(MapValues(column="a", values={"a": 1, "b": "x"}, others="drop"), ["a"])


def test_null_can_be_mapped_like_any_value():
    assert column(MapValues(column="a", values={"null": "none"}, others="keep"), ["x", None]) == ["x", "none"]


def test_a_list_is_no_text_to_keep():
    with pytest.raises(ConfigError, match="not listed and no text"):
        MapValues(column="a", values={"x": "y"}, others="keep")(rows(a=[["x"], ["z"]]))


def test_one_column_cannot_get_two_names():
    with pytest.raises(ConfigError, match="'a' is given two names: b, c"):
        renamed(rows(a=["x"]), {"b": "a", "c": "a"})
