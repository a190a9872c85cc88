"""SQuAD's nested files: questions as rows, chosen articles, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runwright.dataset.readers.annotated import read_squad
from runwright.errors import DataError


def question(text: str = "Who?", **more: Any) -> dict[str, Any]:
    return {"id": text, "question": text, "answers": [{"text": "Ada", "answer_start": 0}], **more}


def article(title: str, *asked: dict[str, Any], context: str = "Ada wrote it.") -> dict[str, Any]:
    return {"title": title, "paragraphs": [{"context": context, "qas": list(asked)}]}


def write(folder: Path, *articles: Any) -> Path:
    file = folder / "a.json"
    file.write_text(json.dumps({"version": "v2.0", "data": list(articles)}), encoding="utf-8")
    return file


def read(file: Path, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "files": {"train": str(file)},
        "folder": None,
        "exclude_titles": {"train": []},
        "only_titles": {"train": None},
        "encoding": "utf-8",
    }
    return read_squad(**defaults | options)["train"]


def test_each_question_is_a_row(tmp_path: Path) -> None:
    impossible = {"id": "2", "question": "When?", "is_impossible": True, "plausible_answers": []}
    rows = read(write(tmp_path, article("A", question(), impossible), article("B", question("What?"))))
    assert rows["question"][:] == ["Who?", "When?", "What?"]
    assert rows["title"][:] == ["A", "A", "B"]
    assert rows["context"][0] == "Ada wrote it."
    assert rows["answers"][0] == {"text": ["Ada"], "answer_start": [0]}
    assert rows["answers"][1] == {"text": [], "answer_start": []}
    assert rows["row_id"][:] == [0, 1, 2]


def test_articles_are_chosen_by_title(tmp_path: Path) -> None:
    file = write(tmp_path, *(article(title, question(title)) for title in "ABC"))
    assert read(file, exclude_titles={"train": ["B"]})["title"][:] == ["A", "C"]
    assert read(file, only_titles={"train": ["B"]})["title"][:] == ["B"]
    splits = read_squad(
        files={"train": str(file), "test": str(file)},
        folder=None,
        exclude_titles={"train": ["A"]},
        only_titles={"test": ["A"]},
        encoding="utf-8",
    )
    assert (splits["train"]["title"][:], splits["test"]["title"][:]) == (["B", "C"], ["A"])


def test_a_title_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, article("Immune_system", question()))
    with pytest.raises(DataError, match=r"'Immune system'.*did you mean 'Immune_system'"):
        read(file, exclude_titles={"train": ["Immune system"]})


def test_a_split_may_have_no_answers(tmp_path: Path) -> None:
    assert "answers" not in read(write(tmp_path, article("A", {"question": "Who?"}))).column_names


@pytest.mark.parametrize(
    ("articles", "message", "row", "column"),
    [
        (["x"], "expected an object, found 'x'", 0, None),
        ([{"title": "A"}], "expected a list under 'paragraphs'", 0, "paragraphs"),
        ([{"paragraphs": [{"qas": []}]}], "expected text under 'context', given nothing", 0, "context"),
        ([article("A", question()), article("B", question(), context=" ")], "context is empty", 1, "context"),
        ([article("A", question(), {"id": "2"})], "expected text under 'question'", 1, "question"),
        ([article("A", question(), {"question": "Who?"})], "no answers, while others", 1, "answers"),
        ([article("A", question(answers="Ada"))], "expected a list under 'answers'", 0, "answers"),
        ([article("A", question(answers=["Ada"]))], "expected an object with 'text'", 0, "answers"),
        (
            [article("A", question(answers=[{"text": "Ada"}]))],
            "whole number under 'answer_start'",
            0,
            "answers",
        ),
        (
            [article("A", question(answers=[{"text": "Ada", "answer_start": "0"}]))],
            "whole number under 'answer_start', given '0'",
            0,
            "answers",
        ),
        ([article("A", question(is_impossible=True))], "but there are answers", 0, "answers"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(
    tmp_path: Path, articles: list[Any], message: str, row: int, column: str | None
) -> None:
    file = write(tmp_path, *articles)
    with pytest.raises(DataError) as caught:
        read(file)
    assert message.replace("while others", "while other questions") in str(caught.value)
    assert (caught.value.file, caught.value.split) == (str(file), "train")
    assert (caught.value.row, caught.value.column) == (row, column)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"{", "broken JSON"),
        (b"[1]", "no list in field 'data'"),
        (b'{"data": []}', "no questions"),
        (b'{"data": "caf\xe9"}', "is not utf-8"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(file)
