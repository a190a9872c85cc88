"""Records in and out: what is read, what is refused with its place, CSV cells that can be read back."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runwright.errors import ConfigError, DataError
from runwright.inference.records import Records, as_records
from runwright.report.tables import RecordWriter, csv_columns

CONF = Path(__file__).parents[2] / "conf" / "dataset"


def opened(source: Path | None, *, dataset: Mapping[str, Any] | None = None, **flags: Any) -> Records:
    """The records of a file with a column `text`; `dataset` as a run's configuration has it."""
    name = None if source is None else str(source)
    return Records(name, dataset=dataset or {}, columns={"text": ("text",)}, **flags)


def read(source: Path | None, **options: Any) -> list[dict[str, Any]]:
    return list(opened(source, **options))


def trained_on(files: str, dataset: str = "csv", **options: Any) -> dict[str, Any]:
    """The configuration of a run's data."""
    usual = yaml.safe_load((CONF / f"{dataset}.yaml").read_text(encoding="utf-8"))["source"]
    usual |= {"streaming": False} if "streaming" in usual else {}
    own = {"files": {"train": files}, "folder": "/gone"}
    return {"source": usual | own | options}


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_rows_of_csv_are_those_that_training_reads(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", '\ufefftext, id\r\n"a, ""b""\nc",1\r\n\r\n,2\r\n')
    assert read(path) == [{"text": 'a, "b"\nc', "id": "1"}, {"text": "", "id": "2"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'text,id\n"open,1\nb,2\nc,3\n', "line 4.*unexpected end of data.*an ordinary character"),
        ("a.csv", 'text,id\na,1\n"b" c,2\n', "line 3.*row 1.*expected after"),
        ("a.csv", "text,id\na,1\nb,2,3\n", r"line 3.*row 1.*3 fields, expected 2 \(text, id\)"),
        ("a.tsv", "text\tid\na\n", "line 2.*row 0.*1 fields, expected 2"),
        ("a.csv", "text,id,text\na,1,b\n", "'text'.*names this column twice"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as error:
        read(path)
    assert error.value.file == str(path)


def test_quotes_in_tsv_are_ordinary_characters_unless_the_run_s_own_were_none(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", 'text\tid\n"open\t1\nb\t2\nshut"\t3\n')
    assert [record["text"] for record in read(path)] == ['"open', "b", 'shut"']
    assert [record["id"] for record in read(path, dataset=trained_on("a.tsv", delimiter="tab"))] == ["3"]


def test_csv_is_read_as_the_run_s_own_data_was(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "id;text\n1;'a; b'\n")
    own = trained_on("own.csv", delimiter="semicolon", quote="'")
    assert read(path, dataset=own) == [{"id": "1", "text": "a; b"}]
    commas = written(tmp_path, "b.csv", "id,text\n1,'a'\n")
    assert read(commas, dataset=own, delimiter="comma") == [{"id": "1", "text": "a"}]
    tabs = trained_on("own.tsv", delimiter="tab", quote=None)
    assert read(commas, dataset=tabs) == [{"id": "1", "text": "'a'"}]


SEMICOLONS = {"files": "own.txt", "delimiter": "semicolon"}
HEADLESS = {"files": "own.csv", "header": False, "column_names": ["mood", "text"]}
NESTED = {"files": "own.json", "dataset": "json", "field": "rows"}
WORDS = {"files": "own.txt", "dataset": "conll", "columns": {"text": 0, "tags": -1}}
WORDS |= {"separator": "whitespace"}
WHOLE = {"files": "folder", "dataset": "text", "unit": "file", "label_from": "folder"}
GOOD, PLAIN = {"text": "good", "mood": "x"}, {"text": "good"}


@pytest.mark.parametrize(
    ("own", "name", "content", "expected"),
    [
        (SEMICOLONS, "a.txt", b"text;mood\ngood;x\n", GOOD),
        (SEMICOLONS, "a.dat", b"text;mood\ngood;x\n", GOOD),
        (SEMICOLONS, "a.txt.gz", gzip.compress(b"text;mood\ngood;x\n", mtime=0), GOOD),
        (SEMICOLONS, "a.csv", b"text;mood\ngood;x\n", GOOD),
        (SEMICOLONS, "a.json", b'[{"text": "good"}]', PLAIN),
        (HEADLESS, "a.csv", b"x,good\n", GOOD),
        ({"files": "own.csv", "encoding": "latin-1"}, "a.csv", b"text\nsch\xf6n\n", {"text": "schön"}),
        ({"files": "own.csv", "encoding": "latin-1"}, "a.csv", "text\nschön\n".encode(), {"text": "schön"}),
        (NESTED, "a.json", b'{"rows": [{"text": "good", "mood": "x"}]}', GOOD),
        (NESTED, "a.jsonl", b'{"text": "good", "mood": "x"}\n', GOOD),
        (WORDS, "a.txt", b"very B-X\ngood O\n", {"text": ["very", "good"], "tags": ["B-X", "O"]}),
        (WORDS, "a.txt", b"very\ngood\n", {"text": ["very", "good"]}),
        (WHOLE, "a.txt", b"very\ngood\n", {"text": "very\ngood\n"}),
        (WHOLE, "a.csv", b"text\ngood\n", PLAIN),
    ],
)
def test_a_file_is_read_as_the_run_s_own_data_were_or_as_its_ending_says(
    tmp_path: Path, own: dict[str, Any], name: str, content: bytes, expected: dict[str, Any]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    records = opened(path, dataset=trained_on(**own))
    assert list(records) == list(records) == [expected]


@pytest.mark.parametrize(
    ("own", "name", "note"),
    [
        (SEMICOLONS, "a.txt", "read as csv"),
        (SEMICOLONS, "a.csv", ""),
        (SEMICOLONS, "a.json", ""),
        (WORDS, "a.txt", "read as conll"),
        (WHOLE, "a.txt", ""),
    ],
)
def test_a_format_that_the_ending_does_not_show_is_said(
    tmp_path: Path, own: dict[str, Any], name: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(written(tmp_path, name, "text;mood\ngood;x\n"), dataset=trained_on(**own))
    opened(tmp_path / name, dataset=trained_on(**own), format_name="text")
    assert capsys.readouterr().err == (note and f"{tmp_path / name}: {note} (--format)\n")


def test_lines_of_text_that_look_like_json_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.txt", '{"text": "good"}\n')
    opened(path)
    assert capsys.readouterr().err == f"{path}: read as text, and looks like JSON (--format jsonl)\n"
    opened(path, format_name="text")
    opened(written(tmp_path, "b.txt", "{ what a film }\n"))
    assert capsys.readouterr().err == ""


def test_rows_without_a_text_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": null}\n{"text": "good"}\n{"text": " "}\n{"text": 0}\n')
    records = opened(path)
    assert len([*records]) == len([*records]) == 4  # read twice, as for CSV
    assert capsys.readouterr().err == f"{path}: no text in 2 rows, predicted all the same\n"
    read(written(tmp_path, "b.jsonl", '{"text": "good"}\n'))
    assert capsys.readouterr().err == ""


def test_a_table_without_the_run_s_text_is_not_taken_for_lines_of_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "Text;Mood\ngood;x\n")
    with pytest.raises(DataError, match="column 'text': no such column; this record has Text, Mood"):
        read(path, dataset=trained_on(**SEMICOLONS))
    assert len(read(path, dataset=trained_on(**SEMICOLONS), format_name="text")) == 2


def test_columns_with_another_delimiter_between_them_are_told_of_the_flag(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "Text\tMood\ngood\tx\n")
    with pytest.raises(DataError, match=r"the only column looks like several: set --delimiter=tab\)"):
        read(path, dataset=trained_on(**SEMICOLONS))


def test_a_delimiter_is_one_character(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--delimiter: given 'colon', expected one"):
        read(written(tmp_path, "a.csv", "text\n"), delimiter="colon")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that puts bytes on standard input, which the terminal says is ASCII."""

    def put(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))

    return put


def test_standard_input_is_utf_8_with_or_without_a_mark(stdin: Any) -> None:
    for mark in ("", "\ufeff"):
        stdin(f"{mark}schön\nb\n".encode())
        assert read(None) == [{"text": "schön"}, {"text": "b"}]
        stdin(f'{mark}text\r\n"ü\r\nb"\r\n'.encode())
        assert read(None, format_name="csv") == [{"text": "ü\r\nb"}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "good", "mood": "x"}\n', GOOD),
        (b'[{"text": "good"}]', PLAIN),
        (b"good\n", PLAIN),
        (b"good; very good\n", {"text": "good; very good"}),
        (b'[not] a {"list"\n', {"text": '[not] a {"list"'}),
    ],
)
def test_standard_input_is_lines_of_text_unless_it_shows_otherwise(
    stdin: Any, content: bytes, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(content)
    assert read(None, dataset=trained_on(**SEMICOLONS)) == [expected]
    name = "jsonl" if content.startswith((b'{"', b"[{")) else "text"
    assert capsys.readouterr().err == f"standard input: read as {name} (--format)\n"
    stdin(b"text;mood\ngood;x\n")
    assert read(None, dataset=trained_on(**SEMICOLONS), format_name="csv") == [GOOD]


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(tmp_path: Path, stdin: Any) -> None:
    content = "".join(f"good {number}\n" for number in range(9999)).encode() + b"sch\xf6n\nb\n"
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    stdin(content)
    for source, place in ((path, str(path)), (None, "standard input")):
        with pytest.raises(DataError, match=r"the text is not utf-8 .* set --encoding") as error:
            read(source)
        assert (error.value.file, error.value.line) == (place, 10_000)


def test_json_is_an_object_on_each_line_or_a_list_of_them(tmp_path: Path) -> None:
    records = [{"text": "a"}, {"text": "b", "id": 2}]
    lines = '\n{"text": "a"}\n\n{"text": "b", "id": 2}\n'
    for name, content in (("a.jsonl", lines), ("a.json", json.dumps(records)), ("b.jsonl", lines[1:])):
        assert read(written(tmp_path, name, content)) == records
    assert read(written(tmp_path, "c.json", "\n " + json.dumps(records, indent=1) + "\n")) == records
    assert read(written(tmp_path, "d.json", "[]")) == read(written(tmp_path, "e.json", "\n")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"}, 5]', "row 1: expected an object, found 5"),
        ('[{"text":', "line 1: broken JSON: Expecting value: line 1 column 10 (char 9)"),
        ('[{"text": "a"}, {"text":]', "line 1: broken JSON"),
        ('[{"text": "a"}', "line 1: broken JSON: Expecting ',' delimiter"),
        ('[{"text": "a"}, {"txt": "b"}]', "row 1, column 'text': no such column"),
        ('{"text": "a"}\n{"text":', "row 1: broken JSON"),
    ],
)
def test_broken_json_is_refused_with_its_row(tmp_path: Path, content: str, message: str) -> None:
    path = written(tmp_path, "a.json", content)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read(path)
    assert error.value.file == str(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("What a film!", "expected a list of texts or records: ['What a film!']"),
        ({"text": "a"}, "expected a list of texts or records"),
        (5, "given 5, expected a list of texts or records"),
        (["a", 5], "row 1: expected a text, or a record with named texts, given 5"),
        ([{"text": "a"}, {"txt": "a"}], "row 1, column 'text': no such column; this record has txt"),
    ],
)
def test_what_python_gives_is_texts_or_records(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        list(as_records(given, {"text": ("text",)}))


SPANS = [{"type": "place", "text": "Zürich", "start": 0, "end": 6}]


def csv_rows(records: list[dict[str, Any]], **options: Any) -> list[dict[str, str]]:
    stream = io.StringIO()
    writer = RecordWriter(stream, format_name="csv", **options)
    for record in records:
        writer.write(record)
    return list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))


def test_predictions_as_csv_keep_texts_that_a_spreadsheet_would_run() -> None:
    assert csv_rows([{"text": text} for text in ("=1+1", "-x", "@x")])[0] == {"text": "=1+1"}


@pytest.mark.parametrize("value", ["a\ud800b", ["a\udfffb"], {"inner": "\ud800"}])
def test_half_a_character_is_named_by_its_row_and_column(tmp_path: Path, value: Any) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": "a", "more": each}) + "\n" for each in ("😀", value)))
    with pytest.raises(DataError, match=r"row 1, column 'more': .* half of a surrogate pair"):
        read(file)


def test_half_a_character_among_arguments_is_refused() -> None:
    with pytest.raises(DataError, match=r"row 1, column 'text': .* half of a surrogate pair"):
        list(as_records(["a", "\udcff"], {"text": ("text",)}, file="arguments"))


def test_too_many_brackets_are_no_line_of_json(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": ' + "[" * 200_000)
    with pytest.raises(DataError, match="row 0: broken JSON"):
        read(file)


def test_spans_in_csv_are_json_and_labels_are_joined() -> None:
    (row,) = csv_rows([{"predicted": SPANS, "labels": ["a", "b"], "none": []}])
    assert json.loads(row["predicted"]) == SPANS
    assert "Zürich" in row["predicted"]
    assert (row["labels"], row["none"]) == ("a,b", "")


@pytest.mark.parametrize("text", ["a\rb", "a\r\nb", "\n", 'a,"b"'])
def test_texts_with_line_ends_of_any_kind_stay_whole_in_csv(text: str) -> None:
    assert csv_rows([{"text": text, "other": "c"}] * 2) == [{"text": text, "other": "c"}] * 2


def test_csv_has_the_columns_of_all_records() -> None:
    records = [{"text": "a"}, {"text": "b", "place": {"page": 3}}, {"title": "c"}]
    assert csv_columns(records) == ["text", "place_page", "title"]
    rows = csv_rows([{**each, "score": 1} for each in records], columns=csv_columns(records))
    assert [list(row.values()) for row in rows] == [
        ["a", "", "", "1"],
        ["b", "3", "", "1"],
        ["", "", "c", "1"],
    ]


def test_a_column_that_csv_has_not_is_named() -> None:
    with pytest.raises(DataError, match=r"column 'title': .* JSON lines"):
        csv_rows([{"text": "a"}, {"text": "b", "title": "c"}])
