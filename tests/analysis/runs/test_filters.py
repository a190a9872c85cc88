from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.analysis.runs.filters import choose, parse_condition, parse_since, sort
from runwright.analysis.runs.rows import RunRow, read_rows
from runwright.errors import ConfigError

MakeFolder = Callable[..., Path]


@pytest.fixture
def rows(make_folder: MakeFolder, tmp_path: Path) -> list[RunRow]:
    for index, f1 in enumerate((0.9, 0.5, float("nan"))):
        make_folder(
            f"n{index}",
            started=float(index),
            metrics={"test/f1": f1},
            optimizer={"lr": 10.0**-index},
            deep=index == 1,
        )
    make_folder("n3", started=3.0, status="FAILED", optimizer={"lr": 5.0}, deep=False)
    return read_rows(tmp_path / "outputs")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("test/f1>0.5", ["n0"]),
        ("test/f1 >= 0.5", ["n0", "n1"]),
        ("test/f1<0.9", ["n1"]),
        ("optimizer.lr<=0.1", ["n1", "n2"]),
        ("optimizer.lr=1e-1", ["n1"]),
        ("optimizer.lr!=0.1", ["n0", "n2", "n3"]),
        ("deep==true", ["n1"]),
        ("name~N", ["n0", "n1", "n2", "n3"]),
        ("overrides~deep=True", ["n1"]),
        ("status=FAILED", ["n3"]),
        ("seconds<91", ["n0", "n1", "n2", "n3"]),
    ],
)
def test_a_condition_keeps_the_runs_that_fulfil_it(text: str, names: list[str], rows: list[RunRow]) -> None:
    assert [row.name for row in choose(rows, conditions=[parse_condition(text)])] == names


def test_conditions_names_and_statuses_work_together(rows: list[RunRow]) -> None:
    conditions = [parse_condition("optimizer.lr<2"), parse_condition("deep=false")]
    assert [row.name for row in choose(rows, conditions=conditions)] == ["n0", "n2"]
    assert [row.name for row in choose(rows, names=["n2", "n3"], conditions=conditions)] == ["n2"]
    assert [row.name for row in choose(rows, statuses=["FAILED", "KILLED"])] == ["n3"]
    assert [row.name for row in choose(rows, since=2.0)] == ["n2", "n3"]


def test_those_without_a_figure_come_last_in_either_direction(rows: list[RunRow]) -> None:
    assert [row.name for row in sort(rows, "test/f1")] == ["n1", "n0", "n2", "n3"]
    assert [row.name for row in sort(rows, "test/f1", reverse=True)] == ["n0", "n1", "n2", "n3"]
    assert [row.name for row in sort(rows, "optimizer.lr")] == ["n2", "n1", "n0", "n3"]


def test_an_unknown_key_is_answered_with_the_nearest(rows: list[RunRow]) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'optimizer\.lr'"):
        choose(rows, conditions=[parse_condition("optimiser.lr>1")])
    with pytest.raises(ConfigError, match="did you mean 'test/f1'"):
        sort(rows, "tets/f1")


@pytest.mark.parametrize("text", ["test/f1", ">0.5", "", "=="])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"test/pearson>0\.8"):
        parse_condition(text)


def test_a_comparison_wants_a_number(rows: list[RunRow]) -> None:
    with pytest.raises(ConfigError, match="expected a number"):
        choose(rows, conditions=[parse_condition("test/f1>high")])


def test_moments_are_read() -> None:
    now = time.mktime((2026, 1, 31, 12, 0, 0, 0, 0, -1))
    assert parse_since("30m", now=now) == now - 1800
    assert parse_since("1.5h", now=now) == now - 5400
    assert parse_since("2d", now=now) == now - 172_800
    assert parse_since("1w", now=now) == now - 604_800
    assert parse_since("today", now=now) == now - 12 * 3600
    assert parse_since("2026-01-31") == now - 12 * 3600
    assert parse_since("2026-01-31T11:59") == now - 60
    with pytest.raises(ConfigError, match="given no moment"):
        parse_since("yesteryear")
