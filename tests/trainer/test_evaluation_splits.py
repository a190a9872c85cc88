import pytest

from runwright.trainer.options import choose_splits


@pytest.mark.parametrize(
    ("splits", "names"),
    [
        (["train", "validation_b", "validation", "test"], ("validation", "validation_b")),
        (["train", "validation_b", "validation_a"], ("validation_b", "validation_a")),
        (["train", "test"], ()),
    ],
)
def test_validation_splits_are_evaluated_and_the_first_of_them_chooses(splits, names):
    assert choose_splits(splits) == names
