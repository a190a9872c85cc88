"""`runwright runs` as a user meets it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.cli.main import main
from runwright.errors import rounded

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> None:
    os.chdir(tmp_path)


def test_runs_are_listed_with_what_is_special_about_them(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [make_folder(metrics={"test/f1": seed / 7}, seed=seed, same=1) for seed in (1, 2)]
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["id", "name", "status", "started", "time"]
    assert {line.split()[0] for line in lines[3:]} == {folder.name[-6:] for folder in folders}
    assert sum("0.1429" in line and "seed=1" in line for line in lines) == 1
    assert "same=1" not in "".join(lines)


def test_the_metric_that_runs_are_sorted_by_is_shown(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (2, 1):
        make_folder(metrics={f"test/{name}": seed for name in ("a", "b", "c", "d")}, seed=seed)
    assert main(["runs", "--sort", "test/d"]) == 0
    heading, names, *_ = capsys.readouterr().out.splitlines()
    assert "d" in f"{heading} {names}".replace("/", " ").split()
    assert main(["runs", "--sort", "seed"]) == 0
    _, names, *_ = capsys.readouterr().out.splitlines()
    assert "seed" in names.split()


def test_a_piped_table_fits_120_characters_and_cuts_no_number(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("test/accuracy", "test/f1_macro", "validation/accuracy")
    for seed in (1, 2):
        make_folder("vader_classes", metrics=dict.fromkeys(names, seed / 7), seed=seed, model="scratch")
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.count("0.1429") for line in lines) == 3


def test_json_is_strict_and_has_everything(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(metrics={"test/f1": float("nan")}, optimizer={"lr": 1e-5})
    assert main(["runs", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["metrics"] == {"test/f1": "nan"}
    assert found["folder"] == str(Path("outputs") / folder.relative_to(Path.cwd() / "outputs"))
    assert found["overrides"] == ["optimizer={'lr': 1e-05}"]


def test_names_and_statuses_choose(make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for index, status in enumerate(("FINISHED", "FAILED", "KILLED")):
        make_folder(f"n{index}", status=status, started=float(index))
    for flags, names in {
        ("--status", "FAILED", "--status", "KILLED"): ["n1", "n2"],
        ("--name", "n0", "--name", "n1"): ["n0", "n1"],
        ("--name", "n0", "--name", "n1", "--status", "FAILED"): ["n1"],
    }.items():
        assert main(["runs", "--json", *flags]) == 0
        assert [run["name"] for run in json.loads(capsys.readouterr().out)] == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=1"], "seed=1: given an override"),
        (["--sort", "tset/f1"], "did you mean 'test/f1'"),
    ],
)
def test_mistakes_are_answered(
    arguments: list[str], message: str, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(metrics={"test/f1": 0.5})
    assert main(["runs", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_statuses_are_offered(complete: Callable[[str], list[str]]) -> None:
    assert complete("runwright runs --status F") == ["FAILED", "FINISHED"]


def test_500_runs_are_listed_in_less_than_a_second(
    make_folder: MakeFolder, run_timed: Any, tmp_path: Path
) -> None:
    folder = make_folder(metrics={f"test/f{index}": index / 9 for index in range(60)})
    for index in range(499):
        shutil.copytree(folder, folder.with_name(f"2026-01-01_00-00-00-{index:06x}"))
    command = [sys.executable, "-m", "runwright", "runs", "--sort", "test/f1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # writes the byte code
    done, seconds = run_timed(command)
    assert len(done.stdout.splitlines()) == 503
    assert seconds < 1.0


def test_long_numbers_in_a_text_have_four_digits_and_others_stay() -> None:
    text = "lr=0.01204001196735158 eps=1.2345678901e-08 warmup=0.1 seed=1234567 name=v1.0.5 m=-12.3456789"
    assert rounded(text) == "lr=0.01204 eps=1.235e-08 warmup=0.1 seed=1234567 name=v1.0.5 m=-12.35"
