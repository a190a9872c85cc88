import unicodedata

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
