import importlib
import sys

import pytest
from datasets import Dataset

from runwright.config import permissions, targets
from runwright.dataset.cleaning.columns import AddColumn, CastColumns, MapValues
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


ADD = "runwright.dataset.cleaning.columns.AddColumn"


@pytest.mark.parametrize(
    ("value", "columns", "expected"),
    [
        ("words", ["text"], [2, 0]),
        ("characters", ["text", "title"], [6, 1]),
        ("{title}: {text}", [], ["x: a bcd", "y: "]),
        ("{n}/{title}", [], ["3/x", "/y"]),
    ],
)
def test_a_column_is_added(value, columns, expected):
    splits = rows(text=["a bcd", None], title=["x", "y"], n=[3.0, None])
    added = AddColumn(name="new", columns=columns, value=value)(splits)["train"]
    assert added["new"][:] == expected
    assert added.column_names == ["text", "title", "n", "new"]


def test_a_text_may_be_made_of_itself_and_no_other_column_is_lost():
    splits = rows(text=["b"], title=["a"])
    assert AddColumn(name="text", columns=[], value="{title} {text}")(splits)["train"]["text"][:] == ["a b"]
    with pytest.raises(ConfigError, match="there is a column 'text' already"):
        AddColumn(name="text", columns=["title"], value="words")(splits)


def test_a_value_that_names_nothing_is_refused():
    with pytest.raises(ConfigError, match="expected characters, words, a template such as"):
        AddColumn(name="new", columns=["text"], value="word")(rows(text=["a"]))


@pytest.fixture
def own_columns(tmp_path, monkeypatch):
    code = """
def ratio(row, *, by: float = 1.0) -> float:
    return row["a"] / row["b"] * by

def wrong(row) -> int:
    return str(row["a"])

def bare(row):
    return row["a"]
"""
    name = "own_columns_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    permissions.grant(packages=[name], folder=tmp_path)
    monkeypatch.setattr("runwright.config.permissions._granted", permissions.granted())
    return name


def test_a_function_of_the_user_makes_a_column_and_its_faults_name_the_row(own_columns):
    def step(function, **options):
        value = {"_target_": f"{own_columns}.{function}", **options}
        node = {"_target_": ADD, "name": "new", "columns": ["a", "b"], "value": value}
        return targets._make(node, (0,), "dataset", "dataset.cleaning.0")

    splits = rows(a=[1.0, 3.0], b=[2.0, 4.0])
    assert step("ratio", by=2.0)(splits)["train"]["new"][:] == [1.0, 1.5]
    keys = {str(step("ratio", by=by).key) for by in (1.0, 2.0)}
    assert len(keys) == 2
    with pytest.raises(DataError, match=r"row 1, column 'new': ZeroDivisionError"):
        step("ratio")(rows(a=[1.0, 3.0], b=[2.0, 0.0]))
    with pytest.raises(DataError, match=r"row 0, column 'new': the function gave '1.0', not int as it says"):
        step("wrong")(splits)
    with pytest.raises(ConfigError, match="bare returns None, expected the annotation"):
        step("bare")(splits)


def test_a_column_is_made_anew_where_another_file_of_the_functions_package_changed(tmp_path, monkeypatch):
    package = tmp_path / "columns_of_a_package"
    package.mkdir()
    for name, text in (
        ("__init__", ""),
        ("helper", "SIZE = 1"),
        ("made", "def size(row) -> int:\n    return 1"),
    ):
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    step = AddColumn(name="n", columns=["a"], value=importlib.import_module(f"{package.name}.made").size)
    before = step.key
    (package / "helper.py").write_text("SIZE = 2", encoding="utf-8")
    assert step.key != before
