"""Every row can be found again where it came from, whatever was done to the rows since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from runwright.dataset.checks import naming_rows
from runwright.dataset.cleaning.texts import DropDuplicates, FilterLength
from runwright.dataset.readers.annotated import read_conll, read_glue, read_squad
from runwright.dataset.readers.hub import read_hub
from runwright.dataset.readers.raw import Where, locate
from runwright.dataset.readers.streams import RowStream, StreamPosition
from runwright.errors import DataError

Source = Callable[..., Any]
NUM_ROWS = 20


@pytest.fixture
def rewritten(load: Source) -> Callable[[Any], dict[str, Dataset]]:
    """Splits after cleaning, holding out and taking a part; about half of the rows are left."""

    def change(source: Any) -> dict[str, Dataset]:
        cleaning = [
            FilterLength(columns=["text"], unit="words", min=2, max=None),
            DropDuplicates(columns=["text"], within=["train"], across=False),
        ]
        return load(source, cleaning=cleaning, holdout={"validation": 4}, subset={"train": 5}).splits

    return change


def text_of(number: int) -> str:
    """Some are too short and some the same, so that rows before others are dropped."""
    return "short" if number % 3 == 0 else f"text {number - number % 7 // 6}"


def csv_of() -> str:
    """A quoted text over two lines and a blank line stand before most rows."""
    rows = [f'"first\nof all",{n}' if n == 0 else f"{text_of(n)},{n}" for n in range(NUM_ROWS)]
    return "\n".join(["text,n", *rows[:2], "", *rows[2:]]) + "\n"


def objects() -> list[str]:
    return [json.dumps({"text": text_of(n), "n": n}) for n in range(NUM_ROWS)]


TEXTS = {
    "csv": csv_of(),
    "json": "\n\n" + "\n \n".join(objects()),
    "text": "".join(f"{text_of(n)} n={n}\n" for n in range(NUM_ROWS)),
}


@pytest.mark.parametrize("reader", TEXTS)
def test_a_row_is_found_on_the_line_where_it_begins(
    reader: str, write: Source, read: Source, rewritten: Source
) -> None:
    files = [write(f"{name}.{reader}", TEXTS[reader]) for name in "ab"]
    splits = rewritten(read(reader, {"train": files}))
    assert len(splits["validation"]) == 4
    for rows in splits.values():
        for row in rows.to_list():
            file, place, line = locate(rows, row["row_id"])
            lines = Path(str(file)).read_text().split("\n")
            assert row["text"].split("\n")[0] in lines[(line or 0) - 1]
            assert str(row.get("n", place)) in lines[(line or 0) - 1 + row["text"].count("\n")]
            assert place == row.get("n", place)
            assert row["row_id"] == place + NUM_ROWS * files.index(str(file))


@pytest.mark.parametrize("reader", TEXTS)
def test_a_row_of_a_stream_is_found_on_its_line(reader: str, write: Source, read: Source) -> None:
    files = [write(f"{name}.{reader}", TEXTS[reader]) for name in "ab"]
    kept = read(reader, {"train": files})["train"]
    stream: RowStream = read(reader, {"train": files}, streaming=True)["train"]
    for block in stream.blocks(StreamPosition(), iter([7] * 6)):
        for row_id in block.rows["row_id"]:
            assert locate(block.rows, row_id) == locate(kept, row_id)


def test_the_words_of_a_tagged_sentence_begin_on_its_line(write: Source, rewritten: Source) -> None:
    blocks = [f"{text_of(n)}\tO\nis\tO\n" for n in range(NUM_ROWS)]
    path = write("a.conll", "-DOCSTART- O\n\n" + "\n\n".join(blocks))
    source = read_conll(
        files={"train": path},
        folder=None,
        columns={"words": 0},
        separator="tab",
        comment=None,
        encoding="utf-8-sig",
    )
    train = source["train"].map(lambda row: {"text": row["words"][0]}, new_fingerprint="with text")
    lines = Path(path).read_text().split("\n")
    for rows in rewritten({"train": train}).values():
        for row in rows.to_list():
            line = locate(rows, row["row_id"]).line or 0
            assert line == 3 + 4 * row["row_id"]
            assert lines[line - 1].startswith(row["text"])


def test_rows_of_files_without_lines_are_found_by_their_number(
    write: Source, read: Source, rewritten: Source
) -> None:
    table = pa.table({"text": [text_of(n) for n in range(NUM_ROWS)], "n": range(NUM_ROWS)})
    parquet = write("a.parquet", "")
    pq.write_table(table, parquet, row_group_size=3)
    sources = {parquet: "parquet", write("a.json", f"[{', '.join(objects())}]"): "json"}
    for path, reader in sources.items():
        for rows in rewritten(read(reader, path)).values():
            for row in rows.to_list():
                assert locate(rows, row["row_id"]) == Where(path, row["n"], None)


def test_a_row_of_a_hub_is_found_by_its_split_there(tmp_path: Path, rewritten: Source) -> None:
    folder = tmp_path / "repo"
    (folder / "data").mkdir(parents=True)
    table = pa.table({"text": [text_of(n) for n in range(NUM_ROWS)], "n": range(NUM_ROWS)})
    pq.write_table(table, folder / "data" / "test-00000-of-00001.parquet")
    options: dict[str, Any] = {"name": str(folder), "config": None, "revision": None}
    for rows in rewritten(read_hub(**options, splits={"train": "test[2:]"})).values():
        for row in rows.to_list():
            assert locate(rows, row["row_id"]) == Where(f"{folder} (split test[2:])", row["n"] - 2, None)


def test_a_row_of_glue_is_found_behind_lines_that_were_passed_over(write: Source) -> None:
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    path = write("qqp/train.tsv", head + "1\t2\t3\ta\tb\t1\nbroken line\n4\t5\t6\tc\td\t0\n")
    rows = read_glue(task="qqp", folder=str(Path(path).parent), hub_name="", revision=None)["train"]
    assert rows["question1"][:] == ["a", "c"]
    assert locate(rows, 1) == Where(path, 1, 4)


def test_a_question_is_named_by_its_id(write: Source) -> None:
    asked = [{"id": f"q{n}", "question": "Who?", "answers": []} for n in range(3)]
    articles = [{"title": "T", "paragraphs": [{"context": "Ada", "qas": asked}]}]
    path = write("a.json", json.dumps({"data": articles}))
    options: dict[str, Any] = {"folder": None, "exclude_titles": {}, "only_titles": {}, "encoding": "utf-8"}
    rows = read_squad(files={"train": path}, **options)["train"].select([2, 1])
    with pytest.raises(DataError, match=r"a\.json', split 'train', row 2: bad \(id 'q2'\)"):
        complain(rows, row=0)


def complain(rows: Dataset, **place: Any) -> None:
    with naming_rows({"train": rows}):
        raise DataError("bad", split="train", **place)


def test_a_row_keeps_its_line_where_its_file_is_gone(write: Source, read: Source, cache: Path) -> None:
    path = write("a.jsonl", "\n\n".join(objects()))
    rows = read("json", path)["train"]
    Path(path).unlink()
    assert locate(rows, 5) == Where(path, 5, 11)
    for numbers in cache.rglob("*.npy"):
        numbers.unlink()
    assert locate(rows, 5) == Where(path, 5, None)


def test_a_row_of_a_resumed_stream_is_found_on_its_line(write: Source, read: Source) -> None:
    stream = read("csv", write("a.csv", TEXTS["csv"]), streaming=True)["train"]
    first = next(stream.blocks(StreamPosition(), iter([3])))
    rest = next(stream.blocks(first.end, iter([3])))
    assert locate(rest.rows, 3).line == 7  # two lines of row 0, the header and a blank line before it


def test_rows_of_unknown_origin_keep_their_ids() -> None:
    rows = Dataset.from_dict({"text": ["a", "b"], "row_id": [7, 9]})
    with pytest.raises(DataError, match=r"^split 'train', row 9: bad$"):
        complain(rows, row=1)
    with pytest.raises(DataError, match=r"^split 'train': bad$"):
        complain(rows)
