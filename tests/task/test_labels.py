"""From label values to ids: names, numbers that are names, ids."""

from __future__ import annotations

import itertools

import pytest

from runwright.errors import DataError
from runwright.task.labels import LabelEncoder, names_from_values


def encode(names: list[str], value: object) -> int:
    return LabelEncoder(names).encode(value)


def test_a_value_is_a_name_or_an_id_where_names_are_words() -> None:
    assert [encode(["bad", "good"], value) for value in ("good", 1, "0", 0.0)] == [1, 1, 0, 0]


@pytest.mark.parametrize("value", [3, "0", 0])
def test_a_number_is_no_id_where_names_are_numbers(value: object) -> None:
    with pytest.raises(DataError, match=f"unknown label {value!r}; the 4 classes are '1', '2', '4', '5'"):
        encode(["1", "2", "4", "5"], value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "9", "-1", "1.5"], ("-1", "1.5", "9", "10")),
        (["1", "01", "1.0"], ("01", "1", "1.0")),
        (["nan", "2", "10"], ("10", "2", "nan")),
    ],
)
def test_the_order_of_names_depends_on_nothing_but_the_names(
    values: list[str], expected: tuple[str, ...]
) -> None:
    for order in itertools.permutations(values):
        assert names_from_values(order, split="train", column="label") == expected
