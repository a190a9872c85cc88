"""Which configuration an evaluation has: the run's, with the user's changes on top."""

from __future__ import annotations

import pytest

from runwright.errors import ConfigError
from runwright.evaluating import on_top_of, refuse_kept

OWN = ["experiment=vader", "dataset=csv", "dataset.source.files.train=a.csv", "metric=[accuracy]", "seed=3"]


def test_a_second_choice_replaces_the_run_s() -> None:
    found = on_top_of(OWN, ["metric=[roc_auc]"])
    assert "metric=[accuracy]" not in found
    assert found[-1] == "metric=[roc_auc]"
    assert "trainer.best_metric=loss" in found


def test_other_data_replaces_all_of_the_run_s_own_and_is_used_whole() -> None:
    found = on_top_of(OWN, ["dataset=csv", "dataset.source.files.test=b.csv"])
    assert "dataset.source.files.train=a.csv" not in found
    assert "dataset.source.files.train=null" in found
    assert "dataset.holdout={validation:0,test:0}" in found
    assert found[:3] == ["experiment=vader", "metric=[accuracy]", "seed=3"]


def test_what_the_user_says_is_not_overruled() -> None:
    given = ["dataset=csv", "dataset.holdout.test=0.5", "dataset.source.files.train=b.csv"]
    found = on_top_of(OWN, given)
    assert "dataset.holdout={validation:0,test:0}" not in found
    assert "dataset.source.files.train=null" not in found
    assert found[-3:] == given


SAVED = {"dataset": {}, "metric": {}, "task": {"threshold": 0.5, "max_length": 8}, "trainer": {}, "name": "a"}


@pytest.mark.parametrize(
    "override",
    [
        "task.max_length=3",
        "task=question_answering",
        "+task.x=1",
        "trainer.device=cpu",
        "name=b",
        "experiment=x",
    ],
)
def test_what_the_run_keeps_cannot_be_given(override: str) -> None:
    given = ["metric=[mae]", override]
    with pytest.raises(ConfigError, match=r"dataset, metric, seed, seeds\.data, task\.threshold") as caught:
        refuse_kept(given, SAVED)
    assert [line.partition(": ")[0] for line in caught.value.mistakes] == [
        override.partition("=")[0].lstrip("+")
    ]


def test_data_metrics_and_the_judging_can_be_given() -> None:
    refuse_kept(
        ["dataset=csv", "~metric", "task.threshold=0.9", "seed=1", "seeds.data=2", "datset=csv"], SAVED
    )
