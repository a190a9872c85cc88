"""Column files: sentences, document marks, separators, and what is wrong with a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runwright.dataset.readers.annotated import read_conll
from runwright.errors import ConfigError, DataError


def read(file: Path, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "files": {"train": str(file)},
        "folder": None,
        "columns": {"words": 0, "tags": -1},
        "separator": "whitespace",
        "comment": None,
        "encoding": "utf-8",
    }
    return read_conll(**defaults | options)["train"]


def test_sentences_end_at_lines_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_bytes(b"-DOCSTART- -X- O\r\n\r\nAda NNP B-per\r\nsleeps VBZ O\r\n\t\r\n\r\nYes UH O")
    rows = read(file, columns={"words": 0, "pos": 1, "tags": -1})
    assert rows["words"][:] == [["Ada", "sleeps"], ["Yes"]]
    assert rows["pos"][:] == [["NNP", "VBZ"], ["UH"]]
    assert rows["tags"][:] == [["B-per", "O"], ["O"]]
    assert rows["row_id"][:] == [0, 1]


def test_a_byte_order_mark_between_parts_is_no_word(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("\ufeffAda\tB-per\n\ufeff\n\nYes\tO\n", encoding="utf-8")
    assert read(file, separator="tab")["words"][:] == [["Ada"], ["Yes"]]


def test_a_line_without_a_tag_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("Ada B-per\nsleeps\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2, .*1 columns"):
        read(file)


def test_a_tab_keeps_spaces_inside_a_word(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("New York\tB-loc\nis\tO\n", encoding="utf-8")
    assert read(file, separator="tab")["words"][0] == ["New York", "is"]


def test_a_line_with_too_few_columns_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("a O\n\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3, .*1 columns") as caught:
        read(file, columns={"words": 0, "tags": 1})
    assert (caught.value.row, caught.value.split) == (1, "train")


def test_other_bytes_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_bytes(b"a O\n\ncaf\xe9 O\n")
    with pytest.raises(DataError, match=r"line 3, .*not utf-8"):
        read(file)


@pytest.mark.parametrize("content", ["", "\n\n", "-DOCSTART- O\n"])
def test_a_file_without_sentences_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.conll"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError):
        read(file)


@pytest.mark.parametrize("options", [{"separator": "ab"}, {"columns": {}}])
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path / "a.conll", **options)


def test_spaces_of_other_kinds_are_a_part_of_a_word(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("10\u00a0000  \tB-n\nis O \n", encoding="utf-8")
    assert read(file)["words"][0] == ["10\u00a0000", "is"]


def test_a_line_with_more_columns_than_those_before_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("Ada\tB-per\n\nNew York\tB-loc\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3, .*3 columns, expected 2.*separator=tab"):
        read(file)


def test_comments_before_a_sentence_are_left_out_and_a_word_may_be_the_same_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("# id = 1\n# text = a #\na O\n# B-x\n\n# id = 2\nb O\n", encoding="utf-8")
    rows = read(file, comment="# ")
    assert rows["words"][:] == [["a", "#"], ["b"]]
    assert rows["tags"][:] == [["O", "B-x"], ["O"]]
    with pytest.raises(DataError, match="comment for lines of #"):
        read(file)


CONLLU = """\
# text = don't go
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\t_\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\t_\t_\t3\tadvmod\t_\t_
3\tgo\tgo\tVERB\t_\t_\t0\troot\t_\t_
3.1\twent\tgo\tVERB\t_\t_\t_\t_\t_\t_
"""


def test_words_of_several_and_empty_nodes_of_conllu_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "a.conllu"
    file.write_text(CONLLU, encoding="utf-8")
    rows = read(file, separator="tab", comment="#", columns={"words": 1, "tags": 3})
    assert rows["words"][0] == ["do", "n't", "go"]
    assert rows["tags"][0] == ["AUX", "PART", "VERB"]


def test_numbers_of_words_are_not_taken_for_words(tmp_path: Path) -> None:
    file = tmp_path / "a.conllu"
    file.write_text(CONLLU, encoding="utf-8")
    with pytest.raises(DataError, match=r"numbers the words.*columns=\{words: 1, tags: 3\}"):
        read(file, comment="#")
