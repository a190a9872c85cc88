from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runwright.errors import DataError
from runwright.report.page.records import read_tables
from runwright.report.tables import class_report, group_rows, write_records


def test_the_class_report_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(0)
    expected, predicted = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    rows = class_report(predicted, expected, list("abcde"))
    reference = precision_recall_fscore_support(expected, predicted)
    for name, values in zip(("precision", "recall", "f1", "support"), reference, strict=True):
        assert [row[name] for row in rows] == pytest.approx(list(values))  # type: ignore[arg-type]


def test_the_class_report_of_sets_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(0)
    expected, predicted = rng.random((100, 4)) < 0.4, rng.random((100, 4)) < 0.4
    rows = class_report(predicted, expected, list("abcd"))
    reference = precision_recall_fscore_support(expected, predicted)
    for name, values in zip(("precision", "recall", "f1", "support"), reference, strict=True):
        assert [row[name] for row in rows] == pytest.approx(list(values))  # type: ignore[arg-type]


def test_what_is_undefined_is_not_a_number() -> None:
    never, only = class_report(np.array([1, 1]), np.array([1, -100]), ["never", "only"])
    assert all(math.isnan(never[name]) for name in ("precision", "recall", "f1"))
    assert (only["precision"], only["recall"], only["f1"], only["support"]) == (1.0, 1.0, 1.0, 1)


def test_groups_are_rows_and_metrics_columns() -> None:
    metrics = {"f1": 0.5, "f1/news": 0.4, "loss/news": 1.0, "f1/a/b": 0.3}
    assert group_rows(metrics) == [
        {"group": "news", "f1": 0.4, "loss": 1.0},
        {"group": "a/b", "f1": 0.3},
    ]


def test_a_table_is_read_back_as_it_was(tmp_path: Path) -> None:
    rows = [{"text": 'a,"b"\nc', "loss": 0.1}, {"text": "ü", "extra": "x"}]
    path = write_records(tmp_path / "tables" / "t.csv", rows)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"text": 'a,"b"\nc', "loss": "0.1", "extra": ""},
            {"text": "ü", "loss": "", "extra": "x"},
        ]


@pytest.mark.parametrize("texts", [["a, b", "c"], ['"', "a"], ["[a]"], ["a\nb", "c"]])
def test_a_list_of_texts_that_commas_do_not_separate_is_json(tmp_path: Path, texts: list[str]) -> None:
    path = write_records(tmp_path / "t.csv", [{"predicted": texts, "labels": ["not good", "b"]}])
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["predicted"]) == texts
    assert row["labels"] == "not good,b"


def test_a_text_that_a_spreadsheet_would_run_stands_behind_an_apostrophe(tmp_path: Path) -> None:
    texts = ['=HYPERLINK("http://x")', "+1 +x", "-x", "@x", "\t=x", "-0.5", "+7", "a=b", ""]
    write_records(tmp_path / "a.csv", [{"=name": text, "n": -1} for text in texts])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["'=name"] for row in rows] == [*(f"'{text}" for text in texts[:5]), *texts[5:]]
    assert {row["n"] for row in rows} == {"-1"}
    assert [row["'=name"] for row in read_tables(tmp_path)["a"]][:4] == texts[:4]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_records_appear_whole_or_not_at_all(tmp_path: Path, ending: str) -> None:
    file = write_records(tmp_path / f"t.{ending}", [{"a": 1}])
    before = file.read_text()
    with pytest.raises(DataError):
        write_records(file, torn())
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def torn() -> Iterator[dict[str, int]]:
    yield {"a": 2}
    raise DataError("no further row")
