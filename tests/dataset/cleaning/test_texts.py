import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.dataset.cleaning.texts import (
    CollapseWhitespace,
    DropDuplicates,
    DropEmpty,
    DropValues,
    FilterLength,
    LowerCase,
    NormalizeUnicode,
    RemoveStopWords,
    UnescapeHtml,
)
from runwright.errors import ConfigError, DataError


def cleaned(step, texts, split="train"):
    return step({split: Dataset.from_dict({"text": texts})})[split]["text"][:]


TEXT = ["text"]


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        (UnescapeHtml(columns=TEXT), "AT&amp;T &lt;3 &#8217;", "AT&T <3 \u2019"),
        (UnescapeHtml(columns=TEXT), "&amp;amp;lt;", "<"),
        (LowerCase(columns=TEXT), "ÀB", "àb"),
        (NormalizeUnicode(columns=TEXT, form="NFC"), "e\u0301", "é"),
        (NormalizeUnicode(columns=TEXT, form="NFKC"), "ﬁ①", "fi1"),
        (CollapseWhitespace(columns=TEXT), " a\t b\u00a0\n c ", "a b c"),
        (RemoveStopWords(columns=TEXT, words=["the", "don't"], path=None), "The end, don't!", "end, !"),
        (RemoveStopWords(columns=TEXT, words=["he"], path=None), "the  end", "the  end"),
    ],
)
def test_texts_are_changed_as_asked(step, text, expected):
    assert cleaned(step, [text, None]) == [expected, None]


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_each_change_is_made_once_and_for_all(text):
    normalize = NormalizeUnicode(columns=TEXT, form="NFC")
    for step in (UnescapeHtml(columns=TEXT), CollapseWhitespace(columns=TEXT), normalize):
        once = cleaned(step, [text])
        assert cleaned(step, once) == once


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (DropEmpty(columns=TEXT), ["a", "b b", "ccc cc c"]),
        (FilterLength(columns=TEXT, unit="characters", min=1, max=3), ["a", " \t", "b b"]),
        (FilterLength(columns=TEXT, unit="words", min=2, max=None), ["b b", "ccc cc c"]),
        (DropValues(column="text", values=["a", None]), ["", " \t", "b b", "ccc cc c"]),
    ],
)
def test_rows_are_dropped_as_asked(step, kept):
    assert cleaned(step, ["a", "", " \t", None, "b b", "ccc cc c"]) == kept


def test_duplicates_within_train_keep_the_first_and_evaluation_splits_stay_whole():
    splits = {
        "train": Dataset.from_dict({"text": ["a", "b", "a", "c"], "n": [0, 1, 2, 3]}),
        "test": Dataset.from_dict({"text": ["c", "d", "d"], "n": [4, 5, 6]}),
    }
    result = DropDuplicates(columns=TEXT, within=["train"], across=True)(splits)
    assert {split: rows["n"][:] for split, rows in result.items()} == {"train": [0, 1], "test": [4, 5, 6]}
    result = DropDuplicates(columns=TEXT, within=["test"], across=False)(splits)
    assert {split: rows["n"][:] for split, rows in result.items()} == {"train": [0, 1, 2, 3], "test": [4, 5]}


def test_stop_words_come_from_a_file_too(write):
    step = RemoveStopWords(columns=TEXT, words=[], path=write("stop.txt", "a\n\nthe\n"))
    assert cleaned(step, ["a b the c"]) == ["b c"]


def test_a_step_that_cannot_work_says_why(tmp_path):
    with pytest.raises(DataError, match=r"no such column.*did you mean 'text'"):
        cleaned(LowerCase(columns=["texts"]), ["a"])
    with pytest.raises(DataError, match="column 'text': a cleaning step for text"):
        LowerCase(columns=TEXT)({"train": Dataset.from_dict({"text": [1]})})
    with pytest.raises(DataError, match=r"none\.txt"):
        cleaned(RemoveStopWords(columns=TEXT, words=[], path=str(tmp_path / "none.txt")), ["a"])


def test_the_notes_count_what_each_step_did(read, write, load):
    source = read("csv", write("a.csv", "text,label\nA,1\nb,2\nB,3\n"))
    steps = [LowerCase(columns=TEXT), DropDuplicates(columns=TEXT, within=["train"], across=True)]
    data = load(source, cleaning=steps)
    assert data.notes == ["DropDuplicates dropped 1 of 3 rows of train"]
    assert data.splits["train"]["row_id"][:] == [0, 1]


def test_a_second_run_takes_cleaned_rows_from_the_cache(read, write, load, cache):
    path = write("a.csv", "text,label\nA,1\nb,2\n")
    steps = [LowerCase(columns=TEXT), DropEmpty(columns=TEXT)]
    first = load(read("csv", path), cleaning=steps)
    files = {file: file.stat().st_mtime_ns for file in cache.rglob("cache-*.arrow")}
    second = load(read("csv", path), cleaning=steps)
    assert files
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("cache-*.arrow")} == files
    assert first.notes == second.notes
    assert first.fingerprints == second.fingerprints


def test_nothing_at_all_is_dropped_and_zero_and_false_stay():
    values = {
        "a": [0, 1, None],
        "b": [0.0, float("nan"), 1.0],
        "c": [False, True, True],
        "d": [["x"], ["y"], []],
    }
    for name, kept in {"a": [0, 1], "b": [0.0, 1.0], "c": [False, True, True], "d": [["x"], ["y"]]}.items():
        rows = {"train": Dataset.from_dict({name: values[name]})}
        assert DropEmpty(columns=[name])(rows)["train"][name][:] == kept


def test_values_to_drop_are_compared_as_they_are_written():
    texts = {"train": Dataset.from_dict({"a": ["1", "2", None]})}
    numbers = {"train": Dataset.from_dict({"a": [1, 2, None]})}
    assert DropValues(column="a", values=[1])(texts)["train"]["a"][:] == ["2", None]
    assert DropValues(column="a", values=["1", None])(numbers)["train"]["a"][:] == [2]


def test_numbers_and_words_have_a_length_too():
    step = FilterLength(columns=["a"], unit="characters", min=2, max=None)
    assert step({"train": Dataset.from_dict({"a": [1, 22]})})["train"]["a"][:] == [22]
    words = FilterLength(columns=["a"], unit="words", min=2, max=None)
    assert words({"train": Dataset.from_dict({"a": [["x"], ["x", "y"]]})})["train"]["a"][:] == [["x", "y"]]


def test_repeats_are_looked_for_where_the_columns_are_and_names_are_checked():
    splits = {
        "train": Dataset.from_dict({"text": ["a", "a"], "label": [1, 1]}),
        "test": Dataset.from_dict({"text": ["a", "a"]}),
    }
    found = DropDuplicates(columns=["text", "label"], within=["train", "test"], across=True)(splits)
    assert [len(rows) for rows in found.values()] == [1, 2]
    with pytest.raises(DataError, match=r"no such column.*did you mean 'text'"):
        DropDuplicates(columns=["txt"], within=["train"], across=False)(splits)
    with pytest.raises(ConfigError, match="within names 'trian'; splits: train, test"):
        DropDuplicates(columns=["text"], within=["trian"], across=False)(splits)
