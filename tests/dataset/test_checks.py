import unicodedata
from pathlib import Path

import pytest
from datasets import Dataset

from runwright.dataset.checks import missing_column, require_columns, special_token_note


def test_rows_that_are_right_pass():
    rows = Dataset.from_dict({"text": ["a", ""], "label": [1, 0], "other": [None, None]})
    require_columns({"train": rows, "test": rows}, {"text": "text", "label": "any"})


def test_special_tokens_in_texts_and_words_are_counted():
    rows = Dataset.from_dict({"text": ["a [SEP] b", "[MASK]", None], "words": [["[SEP]", "x"], [], ["y"]]})
    tokens = ["[SEP]", "[MASK]", "</s>"]
    note = special_token_note(rows, ["text", "words"], tokens)
    assert note is not None
    assert note.endswith("count as such: [SEP] in 2, [MASK] in 1")
    assert special_token_note(rows.select([2]), ["text"], tokens) is None


def test_a_column_that_only_looks_the_same_is_shown_by_its_characters():
    rows = Dataset.from_dict({unicodedata.normalize("NFD", "Prüftext"): ["a"], "row_id": [0]})
    assert r"the same letters are written 'Pru\u0308ftext' there" in str(
        missing_column("Prüftext", rows, split="train")
    )


def test_special_tokens_of_many_rows_are_counted_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNWRIGHT_CACHE", str(tmp_path))
    texts = [f"{number} [SEP]" if number % 3 == 0 else str(number) for number in range(12_000)]
    rows = Dataset.from_dict({"text": texts})
    note = special_token_note(rows, ["text"], ["[CLS]", "[SEP]"])
    assert note is not None
    assert note.endswith(": [SEP] in 4,000")
    monkeypatch.setattr("runwright.dataset.checks.column_chunks", None)
    assert special_token_note(rows, ["text"], ["[CLS]", "[SEP]"]) == note
