"""The message about a key or an option that is not there."""

from __future__ import annotations

from runwright.config.compose import compose
from runwright.config.overrides import hint_for_key


def test_a_key_that_ends_with_what_was_typed_goes_before_one_with_the_same_last_word() -> None:
    keys = ["dataset.subset.train", "dataset.source.files.train", "train.files"]
    assert hint_for_key("files.train", keys) == "did you mean 'dataset.source.files.train'?"
    assert hint_for_key("train", keys) == "did you mean 'dataset.subset.train'?"  # the shortest
    assert hint_for_key("qqqq", keys) == ""


def test_an_unknown_experiment_says_where_it_was_looked_for() -> None:
    (mistake,) = compose(["experiment=mine2"]).mistakes
    assert "looked in ./conf and " in mistake.hint
