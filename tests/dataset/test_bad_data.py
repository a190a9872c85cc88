"""Bad input: each case names the file, split, row and column that are wrong, and what to do."""

import gzip
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runwright.dataset.checks import require_columns
from runwright.errors import DataError


@dataclass(frozen=True)
class Bad:
    """A file's content (None: there is no file), how it is read, and what the error must name and say."""

    name: str
    reader: str
    content: str | bytes | None
    says: str
    row: int | None = None
    line: int | None = None
    column: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def table_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


GOOD = "text,label\nfine,1\n"
READING = [
    Bad("a file that is not there", "csv", None, "no such file"),
    Bad("an empty csv file", "csv", "", "the file is empty"),
    Bad("a csv file of blank lines", "csv", "\n \n\n", "the file is empty"),
    Bad("a csv file with a header only", "csv", "text,label\n", "no rows"),
    Bad("a byte-order mark only", "csv", b"\xef\xbb\xbf", "the file is empty"),
    Bad("a row with a field too few", "csv", GOOD + "short\n", "has 1 fields, expected 2", row=1, line=3),
    Bad("a row with a field too many", "csv", GOOD + "a,1,b\n", "has 3 fields, expected 2", row=1, line=3),
    Bad("a ragged row after a long one", "csv", 'text,label\n"a\nb",1\nc\n', "has 1 fields", row=1, line=4),
    Bad("a name twice in the header", "csv", "text,text\na,b\n", "names this column twice", column="text"),
    Bad("a quote never closed", "csv", GOOD + '"open,1\nb,2\n', "an ordinary character", row=1, line=4),
    Bad("text after a closing quote", "csv", GOOD + 'x,1\n"a"b,1\n', "an ordinary character", row=2, line=4),
    Bad("text after a quote in the header", "csv", '"text"s\na\n', "an ordinary character", row=0, line=1),
    Bad("semicolons around a quote", "csv", 'text;label\n"a, b";1\n', "delimiter=semicolon", row=0, line=2),
    Bad("a field of 11 MB", "csv", GOOD + '"' + "x" * 11_000_000, "field larger", row=1, line=3),
    Bad("latin-1 read as utf-8", "csv", GOOD.encode() + "é,1\n".encode("latin-1"), "0xe9", row=1, line=3),
    Bad("a wrong byte far in", "csv", b"t\n" + b"ok\n" * 90_000 + b"\xff\n", "0xff", row=90_000, line=90_002),
    Bad("utf-16 read as utf-8", "csv", GOOD.encode("utf-16"), "utf-16", row=0, line=1),
    Bad("a compressed file", "csv", gzip.compress(b"text\na\n"), "ends in .gz", row=0, line=1),
    Bad("a parquet file as csv", "csv", table_bytes(pa.table({"a": [1]})), "dataset=parquet", row=0, line=1),
    Bad("an empty json file", "json", "", "the file is empty"),
    Bad("an empty json list", "json", "[]", "no rows"),
    Bad(
        "a broken json line", "json", '{"text": "a"}\n{"text": "b"\n{"text": "c"}\n',
        "broken JSON", row=1, line=2,
    ),
    Bad("a broken object in a json list", "json", '\n[{"a": 1},\n{"a" 3}]', "broken JSON", line=3),
    Bad("a json list without its end", "json", '[{"a": 1}, {"a": 2}', "broken JSON", line=1),
    Bad(
        "a json line that is no object", "json", '{"text": "a"}\n["b"]\n',
        "expected an object", row=1, line=2,
    ),
    Bad("words in a json list", "json", '["a", "b"]', "expected an object", row=0),
    Bad("a json list inside an object", "json", json.dumps({"d": [1]}, indent=1), "field", row=0, line=1),
    Bad("a json field that is no list", "json", '{"n": 3, "data": []}', "'data'", options={"field": "n"}),
    Bad("infinity in json", "json", '{"s": 1.5}\n{"s": Infinity}\n', "write null", row=1, line=2),
    Bad("latin-1 in json", "json", '{"s": "a"}\n{"s": "é"}\n'.encode("latin-1"), "0xe9", row=1, line=2),
    Bad("an empty parquet file", "parquet", b"", "the file is empty"),
    Bad("a csv file as parquet", "parquet", GOOD, "not a readable parquet file"),
    Bad("a parquet file cut short", "parquet", table_bytes(pa.table({"a": [1]}))[:-9], "not a readable"),
    Bad("a parquet file without rows", "parquet", table_bytes(pa.table({"a": pa.array([])})), "no rows"),
    Bad("an empty text file", "text", "", "the file is empty"),
    Bad("latin-1 text", "text", "a\nb\né\n".encode("latin-1"), "not utf-8", row=2, line=3),
]  # fmt: skip


@pytest.mark.parametrize("bad", READING, ids=lambda bad: bad.name)
def test_a_file_that_cannot_be_read_is_named(bad, read, write, tmp_path):
    path = str(tmp_path / "bad.data") if bad.content is None else write("bad.data", bad.content)
    with pytest.raises(DataError) as caught:
        read(bad.reader, path, **bad.options)
    assert bad.says in str(caught.value)
    assert (caught.value.file, caught.value.split) == (path, "train")
    assert (caught.value.row, caught.value.line, caught.value.column) == (bad.row, bad.line, bad.column)


COLUMNS = [
    Bad("a column that is not there", "csv", "txt,label\na,1\n", "did you mean 'txt'?", column="text"),
    Bad("the wrong delimiter", "csv", "text;label\na;1\n", "delimiter=semicolon", column="text"),
    Bad("texts that are all blank", "csv", "text,label\n,1\n  ,2\n", "every text is empty", column="text"),
    Bad("numbers for texts", "csv", "text,label\n1,1\n2,2\n", "expected text, found int64", column="text"),
    Bad("a missing label", "csv", GOOD + "a,\n", "missing (null)", row=1, line=3, column="label"),
    Bad("no text", "json", '{"text": "a", "label": 1}\n{"label": 2}', "(null)", row=1, line=2, column="text"),
    Bad("lists for texts", "json", '{"text": ["a"], "label": 1}', "expected text", column="text"),
]  # fmt: skip


@pytest.mark.parametrize("bad", COLUMNS, ids=lambda bad: bad.name)
def test_a_column_that_cannot_be_used_is_named(bad, read, write, load):
    path = write("bad.data", bad.content)
    splits = load(read(bad.reader, path)).splits
    with pytest.raises(DataError) as caught:
        require_columns(splits, {"text": "text", "label": "any"})
    assert bad.says in str(caught.value)
    assert (caught.value.file, caught.value.split, caught.value.column) == (path, "train", bad.column)
    assert (caught.value.row, caught.value.line) == (bad.row, bad.line)


MIXED = [
    Bad(
        "a word in a column declared to be numbers", "csv", "s\n1\nhigh\n",
        "'high' is not float", row=1, line=3, column="s", options={"column_types": {"s": "float"}},
    ),
    Bad(
        "text where numbers were", "json", '{"s": 1}\n{"s": null}\n{"s": "2"}',
        "'2' is not int64", row=2, line=3, column="s",
    ),
    Bad("true where numbers were", "json", '{"s": 1.5}\n{"s": true}', "True", row=1, line=2, column="s"),
    Bad(
        "a list where text was", "json", '{"s": "a"}\n{"s": ["b"]}\n',
        "['b'] is not string", row=1, line=2, column="s",
    ),
    Bad(
        "a huge number in json", "json", f'{{"s": 1}}\n{{"s": {2**70}}}\n',
        "64 bits", row=1, line=2, column="s",
    ),
    Bad(
        "half a character in json", "json", '{"s": "a"}\n{"s": "\\ud83d"}\n',
        "surrogate", row=1, line=2, column="s",
    ),
    Bad(
        "half a letter in a list", "json", '{"s": []}\n{"s": ["\\ud83d"]}\n',
        "surrogate", row=1, line=2, column="s",
    ),
]  # fmt: skip


@pytest.mark.parametrize("bad", MIXED, ids=lambda bad: bad.name)
def test_a_column_of_several_types_is_left_out_and_named_where_it_is_read(bad, read, write, load):
    data = load(read(bad.reader, write("bad.data", bad.content), **bad.options))
    assert data.splits["train"].column_names == ["row_id"]
    assert any(bad.says in note and "left out" in note for note in data.notes)
    with pytest.raises(DataError, match=re.escape(bad.says)) as caught:
        require_columns(data.splits, {"s": "any"})
    assert (caught.value.row, caught.value.line, caught.value.column) == (bad.row, bad.line, bad.column)


def test_a_row_is_named_by_its_place_in_its_own_file(read, write, load):
    paths = [write("a.csv", "text,label\na,1\nb,2\n"), write("b.csv", "text,label\nc,3\nd,\n")]
    splits = load(read("csv", paths), holdout={"validation": 1}).splits
    with pytest.raises(DataError) as caught:
        require_columns(splits, {"label": "any"})
    assert (caught.value.file, caught.value.row, caught.value.line) == (paths[1], 1, 3)


def test_files_of_one_split_must_agree_on_their_columns(read, write):
    paths = [write("a.csv", "text,label\na,1\n"), write("b.csv", "label,text\n1,a\n")]
    with pytest.raises(DataError, match=r"differ from \['text', 'label'\] in a.csv") as caught:
        read("csv", paths)
    assert caught.value.file == paths[1]


def test_parquet_files_of_one_split_must_agree_on_their_types(read, tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"\(a: string\), or .* differ from \(a: int64\) in 1.parquet"):
        read("parquet", str(tmp_path))


def test_a_typing_error_in_a_path_gets_the_nearest_name(read, write, tmp_path):
    write("reviews.csv", GOOD)
    with pytest.raises(DataError, match=r"did you mean 'reviews\.csv'"):
        read("csv", str(tmp_path / "review.csv"))
    with pytest.raises(DataError, match="no file matches this pattern"):
        read("csv", str(tmp_path / "*.tsv"))
    with pytest.raises(DataError, match=r"looked in '.*nowhere'"):
        read("csv", str(tmp_path / "nowhere" / "a.csv"))


def test_an_empty_folder_has_no_files(read, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        read("csv", str(tmp_path / "empty"))


def test_a_split_without_rows_left_is_named(read, write, load):
    from runwright.dataset.cleaning.texts import DropValues

    with pytest.raises(DataError, match="split 'train': the split has no rows left"):
        load(read("csv", write("a.csv", GOOD)), cleaning=[DropValues(column="label", values=[1])])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read and write anything")
def test_a_file_that_may_not_be_read_is_named(read, write):
    path = write("a.csv", GOOD)
    Path(path).chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read("csv", path)


def test_a_cache_that_cannot_be_written_is_named(read, write, monkeypatch):
    monkeypatch.setenv("RUNWRIGHT_CACHE", write("a file", "in the way") + "/cache")
    with pytest.raises(DataError, match="RUNWRIGHT_CACHE"):
        read("csv", write("a.csv", GOOD))


def test_nothing_is_kept_of_a_file_that_failed(read, write, cache):
    with pytest.raises(DataError):
        read("csv", write("a.csv", GOOD + "short\n"))
    assert [path for path in (cache / "rows").iterdir() if path.suffix != ".lock"] == []
