"""Which configuration an evaluation has: the run's, with the user's changes on top."""

from __future__ import annotations

from runwright.evaluating import on_top_of

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
