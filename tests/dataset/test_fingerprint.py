import pyarrow as pa
import pytest
from datasets import Dataset, Features, Value, concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.dataset.cleaning.columns import CastColumns
from runwright.dataset.cleaning.passes import take
from runwright.dataset.cleaning.texts import LowerCase, RemoveStopWords
from runwright.dataset.fingerprint import content_fingerprint, distinct_values, row_hashes, row_numbers
from runwright.dataset.load import random_order

VALUES = {
    "text": ["a", "", None, "文🙂"],
    "n": [1, None, 3, 4],
    "x": [0.5, None, 1.0, 2.0],
    "b": [True, False, None, True],
}
rows = st.lists(
    st.tuples(st.none() | st.text(st.characters(codec="utf-8"), max_size=5), st.none() | st.integers(-5, 5)),
    min_size=1,
    max_size=30,
)


def dataset(pairs):
    schema = pa.schema([("text", pa.string()), ("n", pa.int64())])
    return Dataset(pa.table({"text": [t for t, _ in pairs], "n": [n for _, n in pairs]}, schema=schema))


@given(pairs=rows, data=st.data())
@settings(deadline=None, max_examples=30)
def test_how_rows_are_stored_makes_no_difference(pairs, data):
    whole = dataset(pairs)
    cut = data.draw(st.integers(0, len(pairs)))
    parts = [dataset(part) for part in (pairs[:cut], pairs[cut:]) if part]
    selected = dataset([*pairs, (None, 9)]).select(range(len(pairs)))
    large = whole.cast(Features({"text": Value("large_string"), "n": Value("int64")}))
    variants = [concatenate_datasets(parts), selected, large, whole.select_columns(["n", "text"])]
    assert {content_fingerprint(variant) for variant in variants} == {content_fingerprint(whole)}


@given(pairs=rows, other=rows)
@settings(deadline=None, max_examples=30)
def test_other_rows_have_another_fingerprint(pairs, other):
    same = content_fingerprint(dataset(pairs)) == content_fingerprint(dataset(other))
    assert same == (pairs == other)


@pytest.mark.parametrize("column", list(VALUES))
def test_every_value_counts(column):
    first = content_fingerprint(Dataset.from_dict(VALUES))
    for position in range(4):
        changed = {name: list(values) for name, values in VALUES.items()}
        changed[column][position] = None if changed[column][position] is not None else changed[column][0]
        assert content_fingerprint(Dataset.from_dict(changed)) != first


def test_the_boundary_between_texts_counts():
    joined = [content_fingerprint(Dataset.from_dict({"t": texts})) for texts in (["ab", "c"], ["a", "bc"])]
    assert joined[0] != joined[1]


def test_lists_and_names_count():
    variants = [{"a": [[1], [2]]}, {"a": [[1, 2], []]}, {"b": [[1], [2]]}]
    assert len({content_fingerprint(Dataset.from_dict(variant)) for variant in variants}) == 3


@pytest.mark.parametrize(
    ("values", "distinct", "numbers"),
    [
        (["b", None, "a", "b", None], ["b", None, "a"], [0, 1, 2, 0, 1]),
        ([1.5, -1.0, 1.5], [1.5, -1.0], [0, 1, 0]),
        ([True, False, False], [True, False], [0, 1, 1]),
        ([None, None], [None], [0, 0]),
        ([["a"], [], ["a"]], [["a"], [], ["a"]], [0, 1, 2]),
    ],
)
def test_distinct_values_come_by_their_first_rows(values, distinct, numbers):
    found, of_rows = distinct_values(Dataset.from_dict({"c": values}), "c")
    assert (found, of_rows.tolist()) == (distinct, numbers)
    turned = Dataset.from_dict({"c": values[::-1]}).select(range(len(values) - 1, -1, -1))
    assert distinct_values(turned, "c")[0] == distinct


def test_what_was_made_of_many_rows_is_read_the_next_time(monkeypatch, cache):
    rows = Dataset.from_dict({"row_id": range(20), "text": [f"{n % 7}" for n in range(20)]})

    def outcomes():
        order = random_order(row_numbers(rows), seed=3, purpose="p").tolist()
        return content_fingerprint(rows), row_hashes(rows, ["text"]).tolist(), order

    expected = outcomes()
    assert not cache.exists()
    monkeypatch.setattr("runwright.dataset.fingerprint.FEW_ROWS", 20)
    assert outcomes() == expected
    assert len(list(cache.glob("arrays/*/array.npy"))) == 3
    monkeypatch.setattr("runwright.dataset.fingerprint.np.save", lambda *_: pytest.fail("made again"))
    assert outcomes() == expected
    ids, other = row_numbers(rows), Dataset.from_dict({"row_id": range(20), "text": ["x"] * 20})
    for make in (
        lambda: content_fingerprint(other),
        lambda: row_hashes(rows, ["row_id"]),
        lambda: random_order(ids, seed=4, purpose="p"),
        lambda: random_order(ids, seed=3, purpose="q"),
        lambda: random_order(ids[::-1], seed=3, purpose="p"),
    ):
        with pytest.raises(pytest.fail.Exception, match="made again"):
            make()
    monkeypatch.setattr("runwright.dataset.fingerprint.readers_code", lambda: "other code")
    with pytest.raises(pytest.fail.Exception, match="made again"):
        content_fingerprint(rows)


def test_what_a_step_makes_is_named_by_rows_columns_options_and_code(monkeypatch):
    rows = Dataset.from_dict({"a": ["1", "2"], "b": ["1", "2"]})

    def names():
        steps = [CastColumns(columns={c: kind}) for c in "ab" for kind in ("int", "float")]
        steps += [RemoveStopWords(columns=["a"], words=[word], path=None) for word in "xy"]
        steps += [LowerCase(columns=["a"]), LowerCase(columns=["b"])]
        made = [step({"train": some})["train"] for step in steps for some in (rows, take(rows, [1, 0]))]
        return {one._fingerprint for one in [*made, take(rows, [0]), take(rows, [1])]}

    before = names()
    assert len(before) == 18
    assert names() == before
    monkeypatch.setattr("runwright.dataset.cleaning.passes.readers_code", lambda: "other code")
    assert len(names() & before) == 2  # rows that were taken
