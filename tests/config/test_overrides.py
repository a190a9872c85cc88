"""The message about a key or an option that is not there."""

from __future__ import annotations

import pytest

from runwright.config.compose import compose
from runwright.config.overrides import hint_for_key


def test_a_key_that_ends_with_what_was_typed_goes_before_one_with_the_same_last_word() -> None:
    keys = ["dataset.subset.train", "dataset.source.files.train", "train.files"]
    assert hint_for_key("files.train", keys) == "did you mean 'dataset.source.files.train'?"
    assert hint_for_key("train", keys) == "did you mean 'dataset.subset.train'?"  # the shortest
    assert hint_for_key("qqqq", keys) == ""
    assert hint_for_key("a.targt", ["a", "a._target_"]) == ""  # which is not for users


def test_an_unknown_experiment_says_where_it_was_looked_for() -> None:
    (mistake,) = compose(["experiment=mine2"]).mistakes
    assert "looked in ./conf and " in mistake.hint


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        # a near name may still be a new key of the free mapping
        (
            ["model=scratch", "model.config.hidden_act=relu"],
            "did you mean 'model.config.hidden_size'? a new key takes a plus: +model.config.hidden_act=relu",
        ),
        (["model=scratch", "model.config.rope=1"], "a new key takes a plus: +model.config.rope=1"),
        (["references.paper={test/loss: 1}"], "a new key takes a plus: +references.paper={test/loss: 1}"),
        (["log.foo=1"], ""),  # no free mapping: with a plus it is refused as well
        (["+optimizer.lr=2"], "the key is there, without a plus: optimizer.lr=2"),
    ],
)
def test_the_hint_says_whether_a_key_takes_a_plus(overrides: list[str], hint: str) -> None:
    mistakes = compose(overrides).mistakes
    assert [mistake.hint for mistake in mistakes if mistake.key == overrides[-1]] == [hint]


def test_a_model_from_scratch_without_a_tokenizer_is_told_how_to_train_one() -> None:
    (mistake,) = compose(["model=scratch"]).mistakes
    assert mistake.hint == "tokenizer=train/wordpiece trains one, or set tokenizer.name=<value>"
