from datasets import Dataset

from runwright.dataset.checks import quality_notes, require_columns, special_token_note


def test_rows_that_are_right_pass():
    rows = Dataset.from_dict({"text": ["a", ""], "label": [1, 0], "other": [None, None]})
    require_columns({"train": rows, "test": rows}, {"text": "text", "label": "any"})


def test_leakage_label_noise_and_blank_texts_are_counted():
    splits = {
        "train": Dataset.from_dict({"text": ["a", "a", "b", "b", " "], "label": [0, 1, 1, 1, 0]}),
        "test": Dataset.from_dict({"text": ["a", "c", "b"], "label": [0, 0, 0]}),
    }
    assert quality_notes(splits, text_columns=["text"], label_column="label") == [
        "1 of 5 rows of train have an empty 'text'",
        "2 of 3 rows of test have the same text as a row of train "
        "(dataset.cleaning: DropDuplicates with across: true)",
        "1 texts of train (2 rows) appear with different labels",
    ]


def test_pairs_count_as_the_same_only_where_both_texts_are():
    splits = {
        "train": Dataset.from_dict({"a": ["x"], "b": ["y"]}),
        "test": Dataset.from_dict({"a": ["x", "y"], "b": ["z", "x"]}),
    }
    assert quality_notes(splits, text_columns=["a", "b"], label_column=None) == []


def test_special_tokens_in_texts_and_words_are_counted():
    rows = Dataset.from_dict({"text": ["a [SEP] b", "[MASK]", None], "words": [["[SEP]", "x"], [], ["y"]]})
    tokens = ["[SEP]", "[MASK]", "</s>"]
    note = special_token_note(rows, ["text", "words"], tokens)
    assert note is not None
    assert note.endswith("count as such: [SEP] in 2, [MASK] in 1")
    assert special_token_note(rows.select([2]), ["text"], tokens) is None
