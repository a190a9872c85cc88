"""`runwright compare` as a user meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.cli.main import main

MakeRun = Callable[..., Path]


def test_it_says_who_differs_in_what_and_is_better(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("small", skill=0.5, seed=1)
    make_run("large", skill=0.9, seed=2)
    assert main(["compare", "latest:small", "latest:large"]) == 0
    out = capsys.readouterr().out
    assert "B is better than A: test/accuracy" in out
    assert "seeds.init" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latest"], "expected two runs"),
        (["latest", "nothing"], "given no run"),
        (["latest", "name:nothing"], "expected the name of an experiment that finished"),
        (["latest", "latest,latest"], "twice"),
        (["latest", "latest", "latest"], "expected two runs"),
    ],
)
def test_mistakes_are_answered(
    arguments: list[str], message: str, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run()
    assert main(["compare", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_every_place_of_the_command_line_is_completed_with_runs(
    make_run: MakeRun, complete: Callable[[str], list[str]]
) -> None:
    folder = make_run("mine")
    expected = sorted(["latest", "latest:mine", folder.name[-6:]])
    assert complete("runwright compare ") == expected
    assert complete("runwright compare latest ") == expected
