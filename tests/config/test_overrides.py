"""What is said of a key or an option that is not there."""

from __future__ import annotations

from runwright.config.compose import compose
from runwright.config.folders import find_conf_folders
from runwright.config.loading import Loaded, load
from runwright.config.overrides import SYNONYMS, flat_keys, same_key


def test_every_synonym_is_of_a_key_that_is_there_and_is_none_itself() -> None:
    loaded = load(find_conf_folders(), [])
    assert isinstance(loaded, Loaded)
    keys = set(flat_keys(loaded.config))
    assert set(SYNONYMS.values()) <= keys
    assert not {key.split(".")[-1] for key in keys} & set(SYNONYMS)


def test_a_key_that_ends_with_what_was_typed_goes_before_one_with_the_same_last_word() -> None:
    keys = ["dataset.subset.train", "dataset.source.files.train", "train.files"]
    assert same_key("files.train", keys) == "dataset.source.files.train"
    assert same_key("train", keys) == "dataset.subset.train"  # the shortest
    assert same_key("rain", keys) is None


def test_an_unknown_experiment_says_where_it_was_looked_for() -> None:
    (mistake,) = compose(["experiment=mine2"]).mistakes
    assert "looked in ./conf and " in mistake.hint
