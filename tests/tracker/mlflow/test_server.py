"""The uploader against a real `mlflow server` that is really stopped and killed."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.tracker.mlflow.store import client_settings
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
Recorded = Callable[[Path], list[tuple[str, int, int, float]]]
LogSteps = Callable[..., float]
MakeTracker = Callable[..., MLflowTracker]


def stored(database: Path) -> list[tuple[str, int, int, float]]:
    connection = sqlite3.connect(database)
    try:
        return sorted(connection.execute("SELECT key, step, timestamp, value FROM metrics").fetchall())
    finally:
        connection.close()


def test_a_run_whose_server_is_down_is_synced_later_without_loss_or_doubles(
    make_run: MakeRun, make_tracker: MakeTracker, server: Any, recorded: Recorded, log_steps: LogSteps
) -> None:
    with client_settings():
        pass  # MLflow is imported: that is no part of what is measured
    run, threads = make_run(), threading.active_count()
    tracker = make_tracker(uri=server.uri, finish_timeout_seconds=2.0)
    began = time.monotonic()
    tracker.start(run)
    tracker.log_params({"seed": 0})
    (run.folder / "note.txt").write_text("kept")
    tracker.log_artifact(run.folder / "note.txt")
    log_steps(tracker, 0, 60)
    tracker.finish("FINISHED")
    assert time.monotonic() - began < 15  # a start of 10 s at most
    assert threading.active_count() <= threads

    server.start()
    assert sync(run.folder) == 64
    assert sync(run.folder) == 0
    assert stored(server.database) == recorded(run.folder)
    assert len(recorded(run.folder)) == 1200
    ((notes),) = list((server.database.parent / "server-artifacts").rglob("note.txt"))
    assert notes.read_text() == "kept"

    resumed = make_tracker(uri=server.uri, policy="fail")
    resumed.start(run)
    log_steps(resumed, 50, 70)
    resumed.finish("FINISHED")
    assert stored(server.database) == recorded(run.folder)
    assert len(recorded(run.folder)) == 1400
    connection = sqlite3.connect(server.database)
    assert connection.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]
    connection.close()
    assert resumed.location.startswith(f"{server.uri}/#/experiments/")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL] * 5 + [signal.SIGSTOP])
def test_a_server_that_dies_or_hangs_in_mid_run_costs_no_step_and_loses_nothing(
    make_run: MakeRun,
    make_tracker: MakeTracker,
    server: Any,
    number: signal.Signals,
    recorded: Recorded,
    log_steps: LogSteps,
) -> None:
    server.start()
    run, tracker = make_run(), make_tracker(uri=server.uri, policy="fail", finish_timeout_seconds=30.0)
    tracker.start(run)
    longest = log_steps(tracker, 0, 200, pause_seconds=0.01)
    server.kill() if number == signal.SIGKILL else server.signal(number)
    longest = max(longest, log_steps(tracker, 200, 400, pause_seconds=0.01))
    began = time.monotonic()
    tracker.finish("FINISHED")
    assert time.monotonic() - began < 31
    assert longest < 0.1
    if number == signal.SIGSTOP:
        server.signal(signal.SIGCONT)
    else:
        server.start()
    # A hanging call of the run's own thread may still hold the run for as long as one request lasts.
    time.sleep(12 if number == signal.SIGSTOP else 0)
    sync(run.folder)
    assert stored(server.database) == recorded(run.folder)
    assert len(recorded(run.folder)) == 8000


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 60])
def test_a_server_that_comes_back_and_a_store_that_was_locked_get_the_rest_while_the_runs_go_on(
    seconds: int,
    make_run: MakeRun,
    make_tracker: MakeTracker,
    server: Any,
    recorded: Recorded,
    tmp_path: Path,
) -> None:
    """Both at once, with a run each: two outages of a minute, in one."""
    server.start()
    runs = [make_run("away"), make_run("locked")]
    trackers = [make_tracker(uri=server.uri, policy="fail"), make_tracker()]
    longest = 0.0

    def log(first: int, last: int, *, pause_seconds: float) -> None:
        nonlocal longest
        for step in range(first, last):
            for tracker in trackers:
                began = time.perf_counter()
                tracker.log_metrics({f"m{index}": step + index / 7 for index in range(20)}, step=step)
                longest = max(longest, time.perf_counter() - began)
            time.sleep(pause_seconds)

    for run, tracker in zip(runs, trackers, strict=True):
        tracker.start(run)
    log(0, 100, pause_seconds=0.01)
    for tracker in trackers:
        assert tracker._tried.wait(60)
    time.sleep(0.5)
    server.kill()
    connection = sqlite3.connect(tmp_path / "outputs" / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    log(100, 200, pause_seconds=seconds / 100)
    connection.execute("COMMIT")
    connection.close()
    server.start()
    log(200, 300, pause_seconds=0.02)
    for tracker in trackers:
        tracker.finish("FINISHED")
    assert longest < 0.5  # an outage that is waited for takes seconds
    for run, database in zip(runs, (server.database, tmp_path / "outputs" / "mlflow.db"), strict=True):
        assert stored(database) == recorded(run.folder)
        assert len(recorded(run.folder)) == 6000
