"""`runwright sweep` finds the newest sweep, counts its trials and names those that there are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from runwright.cli.main import main
from runwright.cli.sweep import _experiment_file
from runwright.config.folders import find_conf_folders


def write_trial(sweep: Path, number: int, run: str, status: str) -> None:
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    outcome = {"job": number, "overrides": [], "folder": f"outputs/mine/{run}", "status": status}
    (folder / "output.txt").write_text(f"job {number}: lr=1 -> outputs/mine/{run}\nmore\n", encoding="utf-8")
    if status:
        code = 0 if status == "finished" else 130
        (folder / "outcome.json").write_text(json.dumps({**outcome, "exit_code": code}), encoding="utf-8")


def test_the_status_of_the_newest_sweep_counts_a_trial_that_went_on_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    newest, older = Path("outputs/sweeps/b"), Path("outputs/sweeps/c")
    for number, run, status in (
        (0, "one", ""),
        (1, "one", "finished"),
        (2, "two", "stopped"),
        (3, "three", ""),
    ):
        write_trial(newest, number, run, status)
    (newest / "sweep.json").write_text('{"n_trials": 4}', encoding="utf-8")
    write_trial(older, 0, "four", "finished")
    os.utime(older, (1e9, 1e9))
    assert main(["sweep", "status"]) == 0
    assert capsys.readouterr().out.startswith("1 of 4 trials ended, 2 have begun and not ended")


def test_a_name_of_no_sweep_is_refused_with_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_trial(Path("outputs/sweeps/vader-mine"), 0, "one", "finished")
    assert main(["sweep", "status", "vader-mien"]) == 2
    assert "vader-mien: given no sweep, expected one of: vader-mine" in capsys.readouterr().err


def test_a_sweep_without_multirun_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "experiment=vader", "sweep=lr_search"]) == 2
    assert "expected runwright train -m … sweep=lr_search" in capsys.readouterr().err


def test_the_best_trial_as_a_file_keeps_what_the_sweeps_own_file_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf/sweep").mkdir(parents=True)
    Path("conf/sweep/mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /hydra/sweeper: runwright\n  - override /optimizer: sgd\n"
        "trainer: {max_steps: 4}\n"
        "task: {label_names: [yes, no]}\n"  # texts, as in every file of conf/
        "hydra: {sweeper: {n_trials: 3}}\n",
        encoding="utf-8",
    )
    text = _experiment_file(["sweep=mine", "optimizer.lr=0.5"], find_conf_folders(), about="the best")
    assert yaml.safe_load(text) == {
        "defaults": [{"override /optimizer": "sgd"}, "_self_"],
        "trainer": {"max_steps": 4},
        "task": {"label_names": ["yes", "no"]},
        "optimizer": {"lr": 0.5},
    }


def test_an_edited_file_of_the_best_trial_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def add(number: int, loss: float) -> None:
        write_trial(Path("outputs/sweeps/tiny"), number, f"run-{number}", "finished")
        run, outcome = Path(f"outputs/mine/run-{number}"), Path(f"outputs/sweeps/tiny/{number}/outcome.json")
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("trainer: {best_metric: loss, best_mode: min}\n")
        (run / "summary.json").write_text(json.dumps({"metrics": {"validation/loss": loss}}))
        outcome.write_text(json.dumps({**json.loads(outcome.read_text()), "overrides": [f"seed2={number}"]}))

    file = Path("conf/experiment/tiny_best.yaml")
    for number, loss in enumerate((2.0, 2.0, 1.0)):  # a new best one replaces what was written before
        add(number, loss)
        assert main(["sweep", "best", "tiny"]) == 0
        assert f"trial {(0, 0, 2)[number]}" in file.read_text()
        assert ("2 settings share this value" in capsys.readouterr().out) == (number == 1)
        assert main(["sweep", "best", "tiny"]) == 0
        capsys.readouterr()
    with file.open("a") as stream:
        stream.write("seed: 4\n")
    assert main(["sweep", "best", "tiny"]) == 2
    shown = f"{file}: given a file that was edited, expected none; rename it, or remove it\n"
    assert capsys.readouterr().err == shown
    assert file.read_text().endswith("seed: 4\n")
    file.unlink()
    assert main(["sweep", "best", "tiny"]) == 0
