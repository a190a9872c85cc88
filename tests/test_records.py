"""Records in and out: half characters are named by row, CSV cells can be read back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from runwright.errors import DataError
from runwright.records import RecordWriter, csv_columns, read_records, texts_as_records

SPANS = [{"type": "place", "text": "Zürich", "start": 0, "end": 6}]


def written(records: list[dict[str, Any]], **options: Any) -> list[dict[str, str]]:
    stream = io.StringIO()
    writer = RecordWriter(stream, format_name="csv", **options)
    for record in records:
        writer.write(record)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


@pytest.mark.parametrize("value", ["a\ud800b", ["a\udfffb"], {"inner": "\ud800"}])
def test_half_a_character_is_named_by_its_row_and_column(tmp_path: Path, value: Any) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": "a", "more": each}) + "\n" for each in ("😀", value)))
    with pytest.raises(DataError, match=r"row 1, column 'more': .* half of a surrogate pair"):
        list(read_records(str(file), columns=("text",), format_name=None))


def test_half_a_character_among_arguments_is_refused() -> None:
    with pytest.raises(DataError, match=r"row 1, column 'text': .* half of a surrogate pair"):
        list(texts_as_records(["a", "\udcff"], ("text",)))


def test_too_many_brackets_are_no_line_of_json(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": ' + "[" * 200_000)
    with pytest.raises(DataError, match="row 0: not a line of JSON"):
        list(read_records(str(file), columns=("text",), format_name=None))


def test_spans_in_csv_are_json_and_labels_are_joined() -> None:
    (row,) = written([{"prediction": SPANS, "labels": ["a", "b"], "none": []}])
    assert json.loads(row["prediction"]) == SPANS
    assert "Zürich" in row["prediction"]
    assert (row["labels"], row["none"]) == ("a,b", "")


def test_csv_has_the_columns_of_all_records() -> None:
    records = [{"text": "a"}, {"text": "b", "place": {"page": 3}}, {"title": "c"}]
    assert csv_columns(records) == ["text", "place_page", "title"]
    rows = written([{**each, "score": 1} for each in records], columns=csv_columns(records))
    assert [list(row.values()) for row in rows] == [
        ["a", "", "", "1"],
        ["b", "3", "", "1"],
        ["", "", "c", "1"],
    ]


def test_a_column_that_csv_has_not_is_named_by_its_row() -> None:
    with pytest.raises(DataError, match=r"row 1, column 'title': .* JSON lines"):
        written([{"text": "a"}, {"text": "b", "title": "c"}])
