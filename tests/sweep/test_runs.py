"""Sweeps of Runwright's own runs: pruned ones, on one and two processes, the test split, a killed driver."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import pytest

SWEEP = """# @package _global_
defaults:
  - override /hydra/sweeper: runwright
hydra:
  sweeper:
    n_trials: 6
    n_jobs: 2
    sampler: random
    pruner: threshold
    pruner_options: {lower: 0.0, upper: 0.5}
    params:
      optimizer.lr: tag(log, interval(1e-5, 1e-4))
"""
MODEL = "{hidden_size:8,num_hidden_layers:1,num_attention_heads:1,intermediate_size:8}"


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A sweep none of whose trials reaches a loss of 0.5: each is pruned at its first evaluation."""
    chance = random.Random(0)
    for split, count in (("train", 60), ("validation", 20), ("test", 20)):
        rows = [f"{' '.join(chance.choices('abcdefg', k=5))},{chance.choice('xy')}" for _ in range(count)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text(SWEEP)
    return [
        sys.executable, "-m", "runwright", "train", "-m", "sweep=mine", "name=tiny", "dataset=csv",
        *(f"dataset.source.files.{split}={split}.csv" for split in ("train", "validation", "test")),
        "tracker=console", "tokenizer=train/word", "tokenizer.model.vocab_size=50", "model=scratch",
        f"model.config={MODEL}", "trainer.num_threads=1", "trainer.device=cpu", "trainer.batch_size=8",
        "trainer.max_epochs=null", "trainer.max_steps=40", "trainer.evaluate_every_epochs=null",
        "trainer.evaluate_every_steps=4",
    ]  # fmt: skip


def call(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def runs_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("outputs/tiny/*/run.json"))]


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_trial_is_pruned_at_its_first_evaluation_on_all_processes(
    command: list[str], tmp_path: Path, num_processes: int
) -> None:
    trials = 5 if num_processes == 2 else 6
    options = [f"launch.num_processes={num_processes}", f"hydra.sweeper.n_trials={trials}"]
    text = call([*command, *options, "hydra.sweeper.n_jobs=1"], tmp_path)
    assert text.count("PRUNED") == trials
    assert Counter(run["status"] for run in runs_of(tmp_path)) == {"PRUNED": trials}
    assert {run["end"]["step"] for run in runs_of(tmp_path)} == {4}


@pytest.mark.slow
def test_the_best_trial_is_an_experiment_and_the_search_saw_no_test_rows(
    command: list[str], tmp_path: Path
) -> None:
    call([*command, "hydra.sweeper.pruner=none", "hydra.sweeper.study_name='a b/ü'"], tmp_path)
    assert Counter(run["status"] for run in runs_of(tmp_path)) == {"FINISHED": 6}
    for summary in tmp_path.glob("outputs/tiny/*/summary.json"):
        metrics = json.loads(summary.read_text())["metrics"]
        assert any(name.startswith("validation/") for name in metrics)
        assert not any(name.startswith("test/") for name in metrics)
    status = call([*command[:3], "sweep", "status"], tmp_path)
    assert "6 of 6 trials ended" in status
    best = call([*command[:3], "sweep", "best"], tmp_path)
    assert "conf/experiment/a_b__best.yaml" in best
    call([*command[:4], "experiment=a_b__best"], tmp_path)
    values = {
        round(json.loads(file.read_text())["metrics"]["validation/loss"], 9)
        for file in tmp_path.glob("outputs/tiny/*/summary.json")
    }
    assert len(values) == 6  # the seventh run has the numbers of the best of six


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_driver_that_is_killed_or_stopped_loses_no_step(
    command: list[str], tmp_path: Path, number: int, code: int
) -> None:
    options = ["hydra.sweeper.pruner=none", "hydra.sweeper.n_trials=2", "trainer.max_steps=2000"]
    driver = subprocess.Popen([*command, *options, "trainer.evaluate_every_steps=1000"], cwd=tmp_path)
    until = time.monotonic() + 120
    while sum(file.stat().st_size > 10_000 for file in tmp_path.glob("outputs/tiny/*/journal.jsonl")) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    driver.send_signal(number)
    assert driver.wait() == code
    text = call([*command, *options, "trainer.evaluate_every_steps=1000"], tmp_path)
    assert text.count("was interrupted") == 2
    runs = runs_of(tmp_path)
    assert [run["status"] for run in runs] == ["FINISHED", "FINISHED"]  # the same two runs
    assert {run["end"]["step"] for run in runs} == {2000}
    assert "2 of 2 trials ended, 0 have begun" in call([*command[:3], "sweep", "status"], tmp_path)


@pytest.mark.slow
def test_a_trial_that_is_killed_in_its_last_upload_is_finished_and_uploaded_later(
    command: list[str], tmp_path: Path
) -> None:
    options = ["hydra.sweeper.pruner=none", "hydra.sweeper.n_trials=1", "tracker.finish_timeout_seconds=300"]
    words = ["tracker=mlflow" if word == "tracker=console" else word for word in command]
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        words += [*options, f"tracker.uri=http://127.0.0.1:{silent.getsockname()[1]}"]
        with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdout
            assert any("trial 0 FINISHED" in line for line in driver.stdout)
            (run,) = runs_of(tmp_path)
            assert run["status"] == "FINISHED"
            os.kill(run["pid"], signal.SIGKILL)
            assert driver.wait(timeout=60) == 0
    assert "1 of 1 trials ended" in call([*command[:3], "sweep", "status"], tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    call([*command[:3], "sync", "latest", "--uri", store], tmp_path)
    (found,) = mlflow.MlflowClient(store).search_runs(["1"], "tags.`mlflow.parentRunId` != ''")
    assert found.info.status == "FINISHED"
    assert "validation/loss" in found.data.metrics
