"""Restarts, and the status of a run whose workers could not write it; real processes that do little."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.config.options import LaunchOptions
from runwright.launch import local as module
from runwright.launch.local import launch
from runwright.runs.folder import RUN_FILE, read_run
from runwright.runs.states import is_busy, run_lock
from runwright.tracker.journal import FILE_NAME, Journal, read

# In place of runwright.launch.worker: counts its starts and does what the test says.
WORKER = """
import os, signal, sys, time
from pathlib import Path
from runwright.errors import ConfigError, DataError
from runwright.launch.worker import work

folder = Path(sys.argv[1])
rank = int(os.environ["RUNWRIGHT_WORKER"])
with (folder / f"starts-{rank}").open("a") as starts:
    starts.write("x")
attempt = len((folder / f"starts-{rank}").read_text())

def main():
    exec(os.environ["WHAT_TO_DO"])

sys.exit(work(main))
"""
OPTIONS = {
    "strategy": "replicated",
    "num_processes": 2,
    "max_restarts": 0,
    "timeout_seconds": 60.0,
    "grace_seconds": 1.0,
}

Launch = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / RUN_FILE).write_text(
        json.dumps({"status": "CREATED", "run_id": "x", "name": "x", "overrides": [], "start_time": 0})
    )
    journal = Journal(tmp_path / FILE_NAME)
    journal.status("RUNNING")
    journal.close()
    return tmp_path


@pytest.fixture
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Launch:
    modules = tmp_path_factory.mktemp("modules")
    (modules / "little_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.setattr(module, "MODULE", "little_worker")
    monkeypatch.setattr(module, "AFTER_FAILURE_SECONDS", 1.0)

    def run(what: str, **options: Any) -> int:
        monkeypatch.setenv("WHAT_TO_DO", what)
        with run_lock(folder) as lock:
            return launch(folder, LaunchOptions(**OPTIONS | options), num_threads=None, lock=lock)

    return run


def starts(folder: Path) -> list[int]:
    return [len((folder / f"starts-{rank}").read_text()) for rank in (0, 1)]


def test_the_whole_group_starts_again_as_often_as_allowed(
    folder: Path, run: Launch, capfd: pytest.CaptureFixture[str]
) -> None:
    what = (
        "if attempt <= 2 and rank == attempt - 1: raise ValueError(f'failure {attempt}')\n"
        "if attempt <= 2: time.sleep(60)"
    )
    assert run(what, max_restarts=2) == 0
    assert starts(folder) == [3, 3]
    shown = capfd.readouterr().err
    assert shown.index("failure 1") < shown.index("restart 1 of 2") < shown.index("failure 2")
    assert shown.index("failure 2") < shown.index("restart 2 of 2")
    assert len((folder / "resumes.jsonl").read_text().splitlines()) == 2
    assert not (folder / "workers").exists()
    log = (folder / "log.txt").read_text()
    assert "launcher: restart 2 of 2" in log


def test_when_restarts_are_used_up_the_run_has_failed(folder: Path, run: Launch) -> None:
    what = "if rank: print('token=hf_' + 34 * 'a', flush=True); os.kill(os.getpid(), 9)\ntime.sleep(60)"
    assert run(what, max_restarts=1) == 137
    assert starts(folder) == [2, 2]
    record = read_run(folder)
    assert record["status"] == "FAILED"
    assert "rank 1 of 2" in record["error"]
    assert "SIGKILL" in record["error"]
    log = (folder / "log.txt").read_text()
    assert "token=[redacted]" in log  # of the end of its output
    assert "hf_a" not in log
    assert [entry["status"] for entry, _ in read(folder / FILE_NAME)] == ["RUNNING", "FAILED"]
    assert not is_busy(folder)


def test_a_users_mistake_is_not_tried_again(folder: Path, run: Launch) -> None:
    assert run("raise DataError('no such column', column='stars')", max_restarts=5) == 3
    assert starts(folder) == [1, 1]
    assert "no such column" in read_run(folder)["error"]


def test_a_stop_is_not_tried_again_and_the_run_is_killed(folder: Path, run: Launch) -> None:
    # The launcher is this process; workers that cannot stop in time are ended.
    what = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    what += f"if rank == 0: os.kill({os.getpid()}, signal.SIGTERM)\ntime.sleep(60)"
    assert run(what, max_restarts=5) == 143
    assert starts(folder) == [1, 1]
    assert read_run(folder)["status"] == "KILLED"
    assert "not ended 1 s after SIGTERM" in (folder / "log.txt").read_text()


def test_workers_hold_the_lock_and_share_the_cores(folder: Path, run: Launch) -> None:
    what = "(folder / f'threads-{rank}').write_text(os.environ['OMP_NUM_THREADS'])"
    assert run(what, num_processes=3) == 0
    cores = len(os.sched_getaffinity(0))
    assert {(folder / f"threads-{rank}").read_text() for rank in range(3)} == {str(max(1, cores // 3))}
    what = "from runwright.runs.states import is_busy\nassert is_busy(folder)"
    assert run(what) == 0
