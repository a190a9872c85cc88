from __future__ import annotations

import string

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runwright.tracker.mlflow.upload import MAX_NAME_LENGTH, MAX_TAG_LENGTH, mlflow_name, mlflow_text

NAMES = st.text(min_size=0, max_size=300) | st.text(
    alphabet=string.ascii_letters + "/._-:@(= \n", max_size=300
)


def test_a_name_that_mlflow_takes_is_not_changed() -> None:
    for name in ("loss", "validation/f1_macro", "a.b-c d:e", "größe", "x" * 250):
        assert mlflow_name(name) == name


def test_a_name_that_mlflow_refuses_stays_readable() -> None:
    assert mlflow_name("f1@10").startswith("f1_10-")
    assert mlflow_name("loss(train)").startswith("loss_train_-")
    assert mlflow_name("/etc/../x").startswith("etc/x-")


def test_names_that_differ_stay_different() -> None:
    names = ["f1@10", "f1(10", "f1=10", "f1_10", "a//b", "a/b", "./a/b", "", ".", "..", "y" * 251, "y" * 252]
    assert len({mlflow_name(name) for name in names}) == len(names)


@settings(max_examples=500, deadline=None)
@given(NAMES)
@example("..0")  # names, but not plain paths
@example("-/;")
def test_mlflow_takes_every_mapped_name(name: str) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_param_name, _validate_tag_name

    mapped = mlflow_name(name)
    _validate_metric(mapped, 1.0, 1, 1)
    _validate_param_name(mapped)
    _validate_tag_name(mapped)
    assert 0 < len(mapped) <= MAX_NAME_LENGTH
    assert mlflow_name(mapped) == mapped


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=50), st.integers(min_value=0, max_value=300))
def test_every_mapped_text_is_short_enough_and_can_be_encoded(text: str, repeats: int) -> None:
    mapped = mlflow_text(text * repeats, max_length=MAX_TAG_LENGTH)
    assert len(mapped) <= MAX_TAG_LENGTH
    assert "\x00" not in mapped
    mapped.encode("utf-8")


def test_a_long_text_says_that_it_was_cut() -> None:
    mapped = mlflow_text("abc" * 10_000, max_length=6000)
    assert mapped.startswith("abcabc")
    assert "30000 characters" in mapped
    assert len(mapped) == 6000
