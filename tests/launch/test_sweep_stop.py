"""A multirun that is told to stop: its jobs end in good order, no further one starts, and it says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

# In place of runwright.runs.execute: waits for a signal as a training does, then "saves".
EXECUTE = """
import os, time
from runwright.runs.folder import update_status
from runwright.trainer.environment import StopFlag, catch_signals

def execute(folder):
    time.sleep(float(os.environ.get("IMPORTS_TAKE", "0")))  # signals that come meanwhile must not be lost
    with catch_signals(StopFlag()) as stop:
        (folder / "training").touch()
        while not stop.code:
            time.sleep(0.01)
        time.sleep(0.3)
        update_status(folder, "KILLED")
    raise SystemExit(stop.code)
"""
SITE = """
import importlib.util, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "runwright.runs.execute":
            return importlib.util.spec_from_file_location(name, __file__.replace("sitecustomize", "execute"))

sys.meta_path.insert(0, Finder)
"""

Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a multirun of three jobs, in a process group of its own as a shell does."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "execute.py").write_text(EXECUTE)
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    started: list[subprocess.Popen[str]] = []

    def start(*overrides: str, **variables: str) -> subprocess.Popen[str]:
        arguments = ["train", "-m", "seed=1,2,3", *overrides]
        process = subprocess.Popen(
            [sys.executable, "-m", "runwright", *arguments], cwd=tmp_path, text=True, process_group=0,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), **variables},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def wait_for_jobs(process: Any, folder: Path, count: int, *, file: str = "training") -> None:
    until = time.monotonic() + 120
    while len(list(folder.glob(f"outputs/default/*/{file}"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def statuses(folder: Path) -> list[str]:
    runs = folder.glob("outputs/default/*/run.json")
    return [json.loads(run.read_text())["status"] for run in runs]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_job_saves_and_no_other_one_starts(start: Start, tmp_path: Path, number: int) -> None:
    process = start()
    wait_for_jobs(process, tmp_path, 1)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # as Ctrl-C, and as `kill` does
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert statuses(tmp_path) == ["KILLED"]
    assert f"{signal.Signals(number).name}: jobs end after this step and save" in errors
    assert f"stopped ({128 + number})" in output  # in the table
    assert "Traceback" not in errors
    assert ": starting 1 process\n" in errors  # of the job, before it imports anything slow


def test_a_signal_while_a_job_is_starting_is_not_lost(start: Start, tmp_path: Path) -> None:
    process = start(IMPORTS_TAKE="2")
    wait_for_jobs(process, tmp_path, 1, file="run.json")
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert statuses(tmp_path) == ["KILLED"]


@pytest.mark.slow
def test_jobs_of_another_launcher_save_too(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    process = start("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    wait_for_jobs(process, tmp_path, 2)
    process.terminate()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert statuses(tmp_path) == ["KILLED"] * 2
    assert output.count("stopped (143)") == 2


def test_a_job_of_a_multirun_that_is_killed_saves_and_starting_it_again_is_the_same_multirun(
    start: Start, tmp_path: Path
) -> None:
    process = start("hydra.sweep.dir=outputs/sweeps/mine")
    wait_for_jobs(process, tmp_path, 1)
    jobs = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert not psutil.wait_procs(jobs, timeout=20)[1]
    assert statuses(tmp_path) == ["KILLED"]
    wait_for_jobs(start("hydra.sweep.dir=outputs/sweeps/mine"), tmp_path, 2)
    records = [json.loads(file.read_text()) for file in tmp_path.glob("outputs/default/*/run.json")]
    assert records[0]["sweep"] == records[1]["sweep"]
