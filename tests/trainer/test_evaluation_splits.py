import pytest

from runwright.errors import ConfigError
from runwright.trainer.options import choose_splits

MNLI = ["train", "validation", "validation_mismatched", "test", "test_mismatched"]


@pytest.mark.parametrize(
    ("splits", "best_split", "names", "best"),
    [
        (MNLI, None, ("validation", "validation_mismatched"), "validation"),
        (MNLI, "validation_mismatched", ("validation", "validation_mismatched"), "validation_mismatched"),
        (["train", "validation_b", "validation_a"], None, ("validation_b", "validation_a"), "validation_b"),
        (["train", "dev", "validation"], "dev", ("dev", "validation"), "dev"),
        (["train", "test"], None, (), None),
    ],
)
def test_validation_splits_are_evaluated_and_one_of_them_chooses(splits, best_split, names, best):
    chosen = choose_splits(splits, best_split=best_split)
    assert (chosen.names, chosen.best) == (names, best)


def test_a_split_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(
        ConfigError, match=r"trainer\.best_split: given 'dev', expected one of .*: validation, test"
    ):
        choose_splits(["train", "validation", "test"], best_split="dev")


def test_the_figures_of_the_best_weights_do_not_take_the_name_of_a_curve():
    chosen = choose_splits(MNLI, best_split=None)
    names = ["validation/f1", "validation_mismatched/f1/a", "test/f1", "test_mismatched/f1"]
    expected = ["best/validation/f1", "best/validation_mismatched/f1/a", "test/f1", "test_mismatched/f1"]
    assert [chosen.final_name(name) for name in names] == expected
