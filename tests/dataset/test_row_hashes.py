"""Which rows of a split are others is said by content: edited, added, gone, or only moved."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset

from runwright.dataset.fingerprint import (
    FILE_NAME,
    RowRecord,
    content_fingerprint,
    hash_rows,
    read_row_hashes,
    read_trained,
    row_changes,
    write_row_hashes,
)

MOVED = "the same rows in another order, number or type"


def split_of(texts: list[str], row_ids: list[int] | None = None, **columns: list[str]) -> Dataset:
    ids = row_ids if row_ids is not None else list(range(len(texts)))
    return Dataset.from_dict({"text": texts, **columns, "row_id": ids})


def record(rows: Dataset) -> RowRecord:
    hashes = hash_rows(rows)
    assert hashes is not None
    return RowRecord(
        fingerprints={"train": content_fingerprint(rows)},
        columns={"train": rows.column_names},
        hashes={"train": hashes},
    )


def said(before: Dataset, now: Dataset) -> str:
    return row_changes(record(before), record(now))["train"]


def test_rows_are_named_by_row_id() -> None:
    before = split_of(["a", "b", "c", "d"])
    assert said(before, split_of(["a", "x", "c", "d"])) == "1 row changed: row_id 1"
    assert said(before, split_of(["a", "b", "c", "d", "e"])) == "1 row added: row_id 4"
    assert said(before, split_of(["a", "x", "b", "c", "d"])) == "1 row added: row_id 1"
    assert said(before, split_of(["a", "c", "d"])) == "1 row gone: row_id 1"
    assert said(before, split_of(["b", "a", "c", "d"], [1, 0, 2, 3])) == MOVED
    assert row_changes(record(before), record(before)) == {}


def test_other_columns_are_named() -> None:
    before = split_of(["a", "b", "c"], label=["x", "y", "x"])
    flipped = split_of(["a", "b", "c"], label=["x", "x", "y"])
    assert said(before, flipped) == "2 rows changed: row_id 1, 2"
    assert said(before, split_of(["a", "b", "c"])) == "other columns: label, text → text"


def test_one_of_two_equal_rows_that_goes_is_noticed() -> None:
    assert said(split_of(["a", "a", "b"]), split_of(["a", "b"])) == MOVED


def test_a_split_whose_rows_are_not_known_is_named_by_its_fingerprint() -> None:
    before, now = (RowRecord(fingerprints={"train": letter * 32}) for letter in "ab")
    expected = "other rows (fingerprint aaaaaaaaaaaa → bbbbbbbbbbbb)"
    assert row_changes(before, now) == {"train": expected}
    assert row_changes(before, RowRecord(fingerprints={"test": "a"})) == {
        "train": "the split is gone",
        "test": "the split is new",
    }


def test_the_hash_of_a_row_depends_on_every_column() -> None:
    one, other = (hash_rows(split_of(["a"], label=[label])) for label in "xy")
    assert one is not None
    assert other is not None
    assert one["hash"][0] != other["hash"][0]


def test_rows_of_train_stay_known_after_they_left_it(tmp_path: Path) -> None:
    first, second = split_of(["a", "b"]), split_of(["b", "c"])
    write_row_hashes(tmp_path, {"train": first})
    write_row_hashes(tmp_path, {"train": second}, trained_before=read_trained(tmp_path))
    abc = hash_rows(split_of(["a", "b", "c"]))
    assert abc is not None
    assert set(read_trained(tmp_path)) == set(abc["hash"])
    assert list(read_row_hashes(tmp_path)) == ["train"]
    assert read_row_hashes(tmp_path)["train"]["row_id"].tolist() == [0, 1]


def test_a_damaged_file_of_hashes_is_left_out(tmp_path: Path) -> None:
    write_row_hashes(tmp_path, {"train": split_of(["a"])})
    (tmp_path / FILE_NAME).write_bytes((tmp_path / FILE_NAME).read_bytes()[:-30])
    assert read_row_hashes(tmp_path) == {}
    assert read_trained(tmp_path).size == 0
