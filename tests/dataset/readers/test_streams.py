"""A stream gives the rows that reading the files at once gives, from any place on, cleaned and checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runwright.dataset.checks import require_columns
from runwright.dataset.cleaning.texts import DropEmpty, LowerCase, UnescapeHtml
from runwright.dataset.readers.streams import RowStream, StreamPosition
from runwright.errors import ConfigError, DataError

Write = Callable[[str, str | bytes], str]
Read = Callable[..., Any]
TEXTS = ["Good film", 'a "quoted" one,\nover two lines', "", "Äpfel & Öl", "the last"]


def rows_of(stream: RowStream, *, size: int = 2, start: StreamPosition | None = None) -> list[dict[str, Any]]:
    blocks = stream.blocks(start or StreamPosition(), repeat(size))
    return [row for block in blocks for row in block.rows.to_list()]


def write_csv(write: Write, name: str, texts: list[str]) -> str:
    quoted = [text.replace('"', '""') for text in texts]
    lines = [f'{number},"{text}",{number / 2}' for number, text in enumerate(quoted)]
    return write(name, "\ufeff" + "\r\n".join(["id,text,half", *lines[:2], "", *lines[2:]]) + "\r\n")


def write_json(write: Write, name: str, texts: list[str]) -> str:
    lines = [
        json.dumps({"id": number, "text": text}, ensure_ascii=False) for number, text in enumerate(texts)
    ]
    return write(name, "\n\n".join(lines))


def write_parquet(write: Write, name: str, texts: list[str]) -> str:
    path = write(name, "")
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=2)
    return path


def write_text(write: Write, name: str, texts: list[str]) -> str:
    return write(name, "\n".join(text.replace("\n", " ") for text in texts) + "\n")


WRITERS = {"csv": write_csv, "json": write_json, "parquet": write_parquet, "text": write_text}


@pytest.fixture(params=WRITERS)
def files(request: pytest.FixtureRequest, write: Write) -> tuple[str, list[str]]:
    """A reader's name and two files of five rows each for it."""
    make = WRITERS[request.param]
    return request.param, [make(write, f"{n}.{request.param}", TEXTS) for n in range(2)]


def test_a_stream_has_the_rows_of_the_files(files: Any, read: Read) -> None:
    reader, paths = files
    expected = read(reader, {"train": paths})["train"]
    stream = read(reader, {"train": paths}, streaming=True)["train"]
    assert rows_of(stream) == expected.to_list()
    assert stream.head().features == expected.features


def test_reading_from_a_place_gives_the_rest(files: Any, read: Read) -> None:
    reader, paths = files
    stream = read(reader, {"train": paths}, streaming=True)["train"]
    whole = rows_of(stream)
    positions = [block.end for block in stream.blocks(StreamPosition(), repeat(1))]
    for position in positions:
        saved = json.loads(json.dumps(position._asdict()))
        assert rows_of(stream, start=StreamPosition(**saved), size=3) == whole[position.row_id :]
    assert positions[-1].row_id == len(whole) == 10


def test_only_train_is_streamed_and_types_look_at_evaluation_rows_too(write: Write, read: Read) -> None:
    train, test = write("train.csv", "text,label\na,1\nb,2\n"), write("test.csv", "text,label\na,1.5\n")
    splits = read("csv", {"train": train, "test": test}, streaming=True)
    assert isinstance(splits["train"], RowStream)
    assert splits["test"]["label"][:] == [1.5]
    assert [row["label"] for row in rows_of(splits["train"])] == [1.0, 2.0]


def test_a_stream_is_renamed_cleaned_and_cut_short(write: Write, read: Read, load: Any) -> None:
    path = write("a.jsonl", "".join(f'{{"body": "A{n}&amp;"}}\n{{"body": " "}}\n' for n in range(9)))
    steps = [UnescapeHtml(columns=["text"]), LowerCase(columns=["text"]), DropEmpty(columns=["text"])]
    source = read("json", path, streaming=True)
    data = load(source, columns={"text": "body"}, cleaning=steps, subset={"train": 7}, streaming=True)
    assert [row["text"] for row in rows_of(data.stream)] == ["a0&", "a1&", "a2&", "a3&"]
    assert [row["row_id"] for row in rows_of(data.stream)] == [0, 2, 4, 6]
    assert data.splits == {}


def test_nothing_is_left_on_disk_by_cleaning(write: Write, read: Read, load: Any, cache: Path) -> None:
    source = read("json", write("a.jsonl", '{"text": "A"}\n' * 50), streaming=True)
    data = load(source, cleaning=[LowerCase(columns=["text"])], streaming=True)
    assert data.stream is not None
    assert all(not block.rows.cache_files for block in data.stream.blocks(StreamPosition(), repeat(5)))
    assert not list(cache.rglob("*.arrow"))


def test_a_source_that_is_no_stream_is_refused(write: Write, read: Read, load: Any) -> None:
    source = read("json", write("a.jsonl", '{"text": "A"}\n'))
    with pytest.raises(ConfigError, match="not read as a stream"):
        load(source, streaming=True)


@pytest.mark.parametrize(
    ("reader", "content", "options", "fragments"),
    [
        ("json", '[{"text": "a"}]', {}, ["one JSON value"]),
        ("csv", "text\na\n".encode("utf-16"), {"encoding": "utf-16"}, ["'utf-16'", "convert"]),
    ],
    ids=["a list", "utf-16"],
)
def test_what_cannot_be_streamed_is_said_at_once(
    reader: str, content: Any, options: Any, fragments: list[str], write: Write, read: Read
) -> None:
    path = write("a", content)
    with pytest.raises((ConfigError, DataError)) as caught:
        read(reader, path, streaming=True, **options)
    assert all(fragment in str(caught.value) for fragment in fragments)


BAD_LAST_ROWS = {
    "a field too many": ("csv", "text,n\nx,1\n", "y,2,3\n", ["3 fields, expected 2"]),
    "broken JSON": ("json", '{"text": "x"}\n', '{"text": \n', ["broken JSON"]),
    "not UTF-8": ("text", "x\n", b"\xff\n", ["0xff", "dataset.source.encoding"]),
}


@pytest.mark.parametrize("name", BAD_LAST_ROWS)
def test_a_bad_row_is_named_by_file_and_row(name: str, write: Write, read: Read, monkeypatch: Any) -> None:
    reader, head, bad, fragments = BAD_LAST_ROWS[name]
    monkeypatch.setattr("runwright.dataset.readers.reading.BATCH_ROWS", 1)
    good = write("good", head)
    last = write("last", head.encode() + (bad if isinstance(bad, bytes) else bad.encode()))
    stream = read(reader, {"train": [good, last]}, streaming=True)["train"]
    with pytest.raises(DataError) as caught:
        rows_of(stream, size=5)
    assert caught.value.file == last
    assert caught.value.row == 1
    assert all(fragment in str(caught.value) for fragment in fragments)


@pytest.mark.parametrize(("value", "problem"), [('"x"', "1 is not string"), ("1", "2.5 is not int64")])
def test_a_column_that_does_not_fit_is_refused_where_it_is_needed(
    value: str, problem: str, write: Write, read: Read, monkeypatch: Any
) -> None:
    monkeypatch.setattr("runwright.dataset.readers.reading.BATCH_ROWS", 1)
    rows = [f'{{"text": "a", "meta": {meta}}}\n' for meta in (value, problem.split()[0])]
    stream = read("json", write("a.jsonl", "".join(rows)), streaming=True)["train"]
    whole, (block,) = rows_of(stream, size=1), stream.blocks(StreamPosition(), repeat(5))
    assert [{*row} for row in whole] == [{"text", "meta", "row_id"}, {"text", "row_id"}]
    require_columns({"train": block.rows}, {"text": "text"})
    with pytest.raises(
        DataError, match=f"line 2, split 'train', row 1, column 'meta': {problem}, as other rows"
    ):
        require_columns({"train": block.rows}, {"meta": "any"})


def test_the_fingerprint_tells_other_data_and_not_another_place(write: Write, read: Read) -> None:
    def fingerprint(name: str, content: str) -> str:
        return read("text", write(name, content), streaming=True)["train"].fingerprint

    assert fingerprint("a.txt", "one\ntwo\n") == fingerprint("b/c.txt", "one\ntwo\n")
    assert fingerprint("a.txt", "one\ntwo\n") != fingerprint("d.txt", "one\ntwx\n")


@pytest.mark.parametrize("content", ["a\rb\nc\r\nd\r", "text,n\ra,1\rb,2\r"])
def test_a_carriage_return_ends_a_line_too(content: str, write: Write, read: Read) -> None:
    reader = "csv" if "," in content else "text"
    path = write("a.txt", content)
    expected = read(reader, {"train": path})["train"]
    stream = read(reader, {"train": path}, streaming=True)["train"]
    assert rows_of(stream) == expected.to_list()
    first = next(stream.blocks(StreamPosition(), repeat(1)))
    assert rows_of(stream, start=first.end) == expected.to_list()[1:]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_whole_file_is_read_in_its_encoding(encoding: str, write: Write, read: Read) -> None:
    path = write("a.txt", "für\r\ncafé\n".encode(encoding))
    options = {"unit": "file", "encoding": encoding}
    stream = read("text", {"train": path}, streaming=True, **options)["train"]
    assert rows_of(stream) == read("text", {"train": path}, **options)["train"].to_list()


def test_the_fingerprint_tells_a_changed_label_in_the_middle(write: Write, read: Read) -> None:
    lines = [f"text {number},{number % 2}" for number in range(20_000)]
    before = read("csv", {"train": write("a.csv", "\n".join(["text,label", *lines]))}, streaming=True)
    lines[10_000] = "text 10000,1"
    after = read("csv", {"train": write("b.csv", "\n".join(["text,label", *lines]))}, streaming=True)
    assert before["train"].fingerprint != after["train"].fingerprint
