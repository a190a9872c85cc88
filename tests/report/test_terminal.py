"""Tables on terminals of any width."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from runwright.report.terminal import (
    duration,
    mean_text,
    number_text,
    print_facts,
    print_table,
    shorten,
    table_of,
)

NUMBERS = ["0.123456", "1,234,567", "[0.1234, 0.5678]"]


def printed(*, width: int, is_terminal: bool, left: int = 0) -> list[str]:
    headings = ("run", "first", "second", "95 % interval")
    table = table_of(headings, [["a [long] name", *NUMBERS], ["empty", "1", "", "2"]])
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=is_terminal, color_system=None)
    print_table(table, console=console, above=1, left=left)
    assert console.width == width
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 57, 58, 200])
def test_no_number_is_cut_and_no_line_longer_than_the_terminal(width: int) -> None:
    for left in (0, 1):
        lines = printed(width=width, is_terminal=True, left=left)
        text = "\n".join(lines)
        assert all(number in text for number in (*NUMBERS, "a [long] name"))
        assert max(map(len, lines)) <= max(width, len("   95 % interval [0.1234, 0.5678]"))
        assert (len(lines) > 5) == (width < 55 + left)


def test_each_row_is_a_block_where_the_table_does_not_fit() -> None:
    assert printed(width=40, is_terminal=True) == [
        "",
        "run a [long] name",
        "  first 0.123456",
        "  second 1,234,567",
        "  95 % interval [0.1234, 0.5678]",
        "run empty",
        "  first 1",
        "  95 % interval 2",
    ]


def test_a_file_gets_the_table_however_wide() -> None:
    assert [line.rstrip() for line in printed(width=20, is_terminal=False)] == [
        line.rstrip() for line in printed(width=200, is_terminal=True)
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.51234, "0.5123"),
        (2e-5, "2e-05"),
        (0, "0"),
        (0.0, "0.0000"),
        (1431.2, "1,431.2"),
        (12345.6, "12,346"),
        (64.25, "64.2500"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_the_digits_that_matter(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0.2s"), (59.6, "59s"), (125, "2m 05s"), (3723, "1h 02m"), (200_000, "2d 7h")],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_long_label_is_apart_from_its_text() -> None:
    file = io.StringIO()
    print_facts([("run", "a"), ("post_processor", "b")], console=Console(file=file))
    assert file.getvalue() == " run         a\n post_processor b\n"


def test_a_mean_has_its_standard_deviation_where_it_is_defined() -> None:
    assert [mean_text([]), mean_text([0.5]), mean_text([0.25, 0.75])] == ["-", "0.5000", "0.5000 ± 0.3536"]
    assert [mean_text([math.inf, 1.0]), mean_text([math.inf, -math.inf])] == ["inf", "nan"]


def test_a_text_is_cut_to_a_length_that_counts_the_sign_for_the_rest() -> None:
    assert [shorten("12345", 5), shorten("123456", 5)] == ["12345", "1234…"]


def test_a_row_may_be_shorter_than_the_headings() -> None:
    for width, is_terminal in ((9, True), (200, True), (9, False)):
        console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)
        print_table(table_of(("class", "train", "test"), [["a", "1", "2"], ["…"]]), console=console)
        assert "…" in console.file.getvalue()
