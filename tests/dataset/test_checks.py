from datasets import Dataset

from runwright.dataset.checks import require_columns


def test_rows_that_are_right_pass():
    rows = Dataset.from_dict({"text": ["a", ""], "label": [1, 0], "other": [None, None]})
    require_columns({"train": rows, "test": rows}, {"text": "text", "label": "any"})
