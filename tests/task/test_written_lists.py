"""Lists in CSV cells: read as what wrote them meant, or left as the text they are."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.task.labels import read_written

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="ab ,'\"[]{}\\\n é😀"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="ab'"), inner),
    max_leaves=6,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES))
def test_what_json_and_python_write_is_read_back(value: Any) -> None:
    assert read_written(json.dumps(value)) == read_written(repr(value)) == value


@pytest.mark.parametrize(
    "words", [["it's", "a b"], ["x", 'say "no"'], ["dtype=1)", "array(x"], ["1 2", "-3"]]
)
def test_what_numpy_and_pandas_write_is_read_back(words: list[str]) -> None:
    array = np.array(words, dtype=object)
    for value in (array, list(array), {"text": array, "answer_start": np.array([4, 15])}):
        cell = pd.read_csv(StringIO(pd.Series([value]).to_csv(index=False))).iloc[0, 0]
        expected = {"text": words, "answer_start": [4, 15]} if isinstance(value, dict) else words
        assert read_written(cell) == expected
    assert read_written(repr(list(np.array([4, 15])))) == read_written("[4 15]") == [4, 15]


@pytest.mark.parametrize(
    "text",
    [
        "[a, b]",
        "['a' 'b' ... 'z']",
        "[1]x",
        "[citation needed]",
        "{'a'}",
        "['a'",
        "[open()]",
        "[" * 9999 + "]",
    ],
)
def test_a_text_that_is_not_for_certain_a_list_stays_a_text(text: str) -> None:
    assert read_written(text) == text
