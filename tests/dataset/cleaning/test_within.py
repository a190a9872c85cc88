"""A cleaning step for some of the splits."""

import pytest
from datasets import Dataset

from runwright.dataset.cleaning.texts import FilterRange, Within
from runwright.errors import ConfigError


def test_other_splits_stay_as_they_are():
    step = Within(splits=["train"], step=FilterRange(column="a", min=2, max=None))
    found = step({name: Dataset.from_dict({"a": [1, 2, 3]}) for name in ("train", "test")})
    assert list(found) == ["train", "test"]
    assert found["train"]["a"][:] == [2, 3]
    assert found["test"]["a"][:] == [1, 2, 3]


def test_a_split_that_is_not_there_is_named():
    step = Within(splits=["dev"], step=FilterRange(column="a", min=2, max=None))
    with pytest.raises(ConfigError, match=r"Within\.splits names 'dev'; splits: train"):
        step({"train": Dataset.from_dict({"a": [1]})})
