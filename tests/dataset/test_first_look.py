"""The first look at rows: what is counted, said once for all splits, and how columns and labels were read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from runwright.config.options import SPLITS
from runwright.dataset import checks
from runwright.dataset.checks import (
    SplitLook,
    columns_of,
    describe,
    file_warnings,
    look_at,
    reading_of,
    warnings_of,
)


def test_leakage_repeated_and_blank_texts_are_counted() -> None:
    splits = {
        "train": Dataset.from_dict({"text": ["a", "a", "b", "b", " "]}),
        "test": Dataset.from_dict({"text": ["a", "c", "b"]}),
    }
    assert look_at(splits, text_columns=["text"]) == {
        "train": SplitLook(num_rows=5, empty=1, repeated=2),
        "test": SplitLook(num_rows=3, in_train=2),
    }


def test_pairs_count_as_the_same_only_where_both_texts_are() -> None:
    splits = {
        "train": Dataset.from_dict({"a": ["x"], "b": ["y"]}),
        "test": Dataset.from_dict({"a": ["x", "y"], "b": ["z", "x"]}),
    }
    assert look_at(splits, text_columns=["a", "b"])["test"].in_train == 0


def test_a_warning_is_given_once_for_all_splits_and_the_same_file_twice_first() -> None:
    looks = {
        "train": SplitLook(num_rows=50, empty=1),
        "validation": SplitLook(num_rows=40, in_train=40),
        "dev": SplitLook(num_rows=10, in_train=2, empty=1),
        "test": SplitLook(num_rows=10, in_train=1),
    }
    same, few, empty = warnings_of(looks)
    assert same.startswith("40 of 40 rows of validation are rows of train too")
    assert "the same file, or repeated texts (DropDuplicates)?" in same  # held out: it always is
    assert few.startswith("2 of 10 rows of dev, 1 of 10 rows of test have the same text as a row of train")
    assert empty.startswith("1 of 50 rows of train, 1 of 10 rows of dev have an empty text")
    assert warnings_of(looks, SimpleNamespace(join_rows=False)) == [same, few, empty]
    assert warnings_of(looks, SimpleNamespace(join_rows=True)) == [same]  # lines of a text: usual


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
        ["train/pos/1.txt", "train/test.md.txt", "test/pos/1.txt"],
        ["reviews_train.csv.gz", "reviews_dev.csv.gz"],
    ],
)
def test_files_of_other_splits_among_those_of_train_are_a_warning(names: list[str]) -> None:
    files = [f"/test/data/{name}" for name in names]
    (warning,) = file_warnings({"train": files, "test": files[-1:]}, SPLITS)
    assert warning == f"train is read from {files[-1]} beside {files[0]}: are these other splits?"


@pytest.mark.parametrize(
    "files",
    [
        ["test.csv"],
        ["a/training.csv", "b/train_2.csv"],
        ["train.csv", "testimonials.csv"],
        ["a.csv", "test.csv"],
    ],
)
def test_files_of_one_split_or_of_other_names_are_none(files: list[str]) -> None:
    assert not [*file_warnings({"train": files}, SPLITS)]


def test_a_list_without_some_files_of_a_split_is_a_warning() -> None:
    (warning,) = file_warnings({"train": ["c4.00000-of-01024.json.gz", "c4.00007-of-01024.json.gz"]}, SPLITS)
    assert warning.startswith("train: 1022 of 1024 files are missing: c4.00001-of-01024.json.gz, c4.00002-")
    assert warning.endswith(" and 1010 more")


def test_labels_of_many_rows_are_counted_in_a_sample_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LABELS", 4)
    rows = Dataset.from_dict({"text": list("abcdefgh"), "label": [0] * 4 + [1] * 4})
    data = SimpleNamespace(splits={"test": rows}, notes=[])

    def label_counts(rows: Dataset, split: str) -> list[int]:
        return [rows["label"][:].count(number) for number in range(2)]

    task = SimpleNamespace(
        label_names=("no", "yes"),
        label_column="label",
        columns_in=lambda names: ("text",),
        label_counts=label_counts,
        generates=False,
    )
    looks = {"test": SplitLook(num_rows=8)}
    assert [*describe(data, task, looks, source={}, cut={})][-1].endswith("no 2, yes 1 in 3 rows")


def test_more_rows_than_are_worth_the_time_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MOST_ROWS", 2)
    looks = look_at({"train": Dataset.from_dict({"text": ["a", "b", "b"]})}, text_columns=["text"])
    assert looks == {"train": SplitLook(num_rows=2)}


@pytest.mark.parametrize(
    ("labels", "form"),
    [
        (["a", None], "string, names"),
        ([1, 0], "int64, ids"),
        ([0.5, 1.0], "double, numbers"),
        ([[0, 1, 1], [0, 0, 0]], "list<item: int64>, 0/1 vectors of 3"),
        (['[{"start": 0}]', "[]"], "string, lists as text"),
        ([["a"], []], "list<item: string>, lists"),
    ],
)
def test_columns_are_shown_with_their_types_and_the_form_of_the_labels(labels: list[Any], form: str) -> None:
    rows = Dataset.from_dict({"text": ["x", "y"], "label": labels, "na\x1bme": [1, 2], "row_id": [0, 1]})
    found = columns_of(rows, used=["text", "label"], label_columns=["label"])
    assert found == f"text (string), label ({form}); not used: na\\x1bme"


def test_every_column_of_labels_is_a_used_one() -> None:
    rows = Dataset.from_dict({"words": ["x"], "price": [1], "speed": [0], "id": ["a"]})
    task = SimpleNamespace(
        label_columns=("price", "speed"), label_column="price, speed", columns_in=lambda names: ("words",)
    )
    task.generates = False
    data = SimpleNamespace(splits={"train": rows}, notes=[])
    (first, *_) = describe(data, task, {}, source={"_target_": "x.read_csv"}, cut={})
    assert first.endswith("words (string), price (int64, ids), speed (int64, ids); not used: id")


def test_the_table_has_classes_with_their_counts_and_leaves_out_what_was_not_measured() -> None:
    data = SimpleNamespace(splits={"train": Dataset.from_dict({"text": ["x"] * 3})}, notes=["a\x1bnote"])
    names = {"label_names": ("no", "yes"), "label_column": None, "columns_in": lambda names: ("text",)}
    names["generates"] = False
    task = SimpleNamespace(**names, label_counts=lambda rows, split: [1, len(rows) - 1])
    looks = {"train": SplitLook(num_rows=3)}
    first, note, heading, train = describe(data, task, looks, source={"_target_": "x.read_csv"}, cut={})
    assert (first, note) == ("read as csv; train: text (string)", "a\\x1bnote")
    assert heading.split() == ["split", "rows", "empty", "repeated", "labels"]
    assert train.split() == ["train", "3", "0", "0", "no", "1,", "yes", "2"]
    assert [*describe(data, task, looks, source={}, cut={"train": 1 / 3})][-1].split()[4] == "33.3%"


def test_the_reading_names_separator_and_encoding_of_each_part() -> None:
    csv = {"_target_": "runwright.dataset.readers.files.read_csv", "delimiter": "semicolon", "header": True}
    assert reading_of(csv) == "csv (delimiter semicolon, header true)"
    parts = {"a": {"source": csv}, "b": {"source": {"_target_": "x.read_parquet"}}}
    assert reading_of({"parts": parts}) == "a: csv (delimiter semicolon, header true); b: parquet"


def test_a_text_to_write_is_not_shown_as_a_name() -> None:
    rows = Dataset.from_dict({"source": ["x"], "target": ["y"], "id": ["a"]})
    task = SimpleNamespace(label_column="target", columns_in=lambda names: ("source",), generates=True)
    data = SimpleNamespace(splits={"train": rows}, notes=[])
    (first, *_) = describe(data, task, {}, source={"_target_": "x.read_csv"}, cut={})
    assert first.endswith("train: source (string), target (string); not used: id")
