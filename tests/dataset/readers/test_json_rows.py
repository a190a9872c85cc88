"""JSON as other programs write it: wrappers, missing numbers, nested objects, columns of several types."""

import json

import pytest

from runwright.dataset.checks import require_columns
from runwright.errors import DataError

MIXED = '{"text": "a", "label": "x", "meta": "n0"}\n{"text": "b", "label": "y", "meta": 1}\n'


def columns(data, split="train"):
    return {name: values for name, values in data.splits[split].to_dict().items() if name != "row_id"}


@pytest.mark.parametrize(
    "meta",
    [
        '"n0"|1',
        "1|true",
        '{"k": 1}|{"k": "x"}',
        '[1]|{"k": 1}',
        f"1|{2**70}",
        '[1, "x"]|[2]',
        '{"k": [1, [2]]}|1',
    ],
)
def test_a_column_of_several_types_that_nothing_reads_is_left_out(read, write, load, meta):
    rows = "".join(f'{{"text": "a", "meta": {value}}}\n' for value in meta.split("|"))
    data = load(read("json", write("a.jsonl", rows)))
    assert columns(data) == {"text": ["a", "a"]}
    assert "column 'meta'" in data.notes[0]


def test_a_column_left_out_of_one_split_is_left_out_of_all(read, write, load):
    plain = write("b.jsonl", '{"text": "a", "label": "x", "meta": "n"}\n')
    data = load(read("json", {"train": plain, "test": write("a.jsonl", MIXED)}))
    assert list(columns(data)) == ["text", "label"]
    with pytest.raises(DataError, match=r"line 2, split 'test', row 1, column 'meta': 1 is not string"):
        require_columns(data.splits, {"meta": "any"})


@pytest.mark.parametrize("form", ['{{"s": {0}}}\n{{"s": {1}}}\n', '[{{"s": {0}}}, {{"s": {1}}}]'])
def test_nan_is_a_missing_number(read, write, load, form):
    assert columns(load(read("json", write("a.json", form.format("NaN", "1.5"))))) == {"s": [None, 1.5]}


def test_a_field_of_nested_objects_becomes_a_column(read, write, load):
    path = write("a.jsonl", '{"d": {"text": "a", "by": {"n": 1}}}\n{"d": {"text": "b", "by": {"n": 2}}}\n')
    data = load(read("json", path), columns={"text": "d.text", "label": "d.by.n"})
    assert [data.splits["train"][name][:] for name in ("text", "label")] == [["a", "b"], [1, 2]]
    with pytest.raises(DataError, match=r"did you mean 'd\.text'"):
        load(read("json", path), columns={"text": "d.txt"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps({"data": [{"text": "a"}], "n": 1}), "set dataset.source.field=data"),
        (
            json.dumps({"data": [{"text": "a"}], "n": 1}, indent=1),
            "set dataset.source.field=NAME",
        ),
        ('{"d": {"text": "a"}}\n', "set ++dataset.columns.text=d.text"),
        ('{"text": {"0": "a", "1": "b"}, "n": {"0": 1, "1": 2}}', "to_json(orient='records', lines=True)"),
    ],
)
def test_what_to_set_for_another_form_is_named(read, write, load, content, says):
    with pytest.raises(DataError) as caught:
        require_columns(load(read("json", write("a.json", content))).splits, {"text": "text"})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says", "not_said"),
    [
        ('{"text": "a"},\n{"text": "b"}\n', "an object on each line, and nothing behind it", "field"),
        ('{"text": "a"}{"text": "b"}', "an object on each line, and nothing behind it", "field"),
        ('["a", "good"]\n["b", "bad"]\n', "expected a list of objects, or an object on each line", "field"),
        ('{"text": "a", "score": Infinity}\n', "write null for a missing number", "field"),
        ("{'text': 'a'}\n", "broken JSON", "field"),
        ('{"text": "a", "n": {"x": 1, "x": 2}}\n', "a key twice in one object of x", "field"),
        ('{\n "text": "a"\n}\n', "set dataset.source.field=NAME", "nothing behind"),
    ],
)
def test_the_hint_on_broken_json_suits_what_is_broken(read, write, content, says, not_said):
    with pytest.raises(DataError) as caught:
        read("json", write("a.json", content))
    assert says in str(caught.value)
    assert not_said not in str(caught.value)
