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

from runwright.tracker.journal import read
from runwright.tracker.mlflow import MLflowTracker, sync
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
MakeTracker = Callable[..., MLflowTracker]


def stored(database: Path) -> list[tuple[str, int, int, float]]:
    connection = sqlite3.connect(database)
    try:
        return sorted(connection.execute("SELECT key, step, timestamp, value FROM metrics").fetchall())
    finally:
        connection.close()


def recorded(run: RunInfo) -> list[tuple[str, int, int, float]]:
    return sorted(
        (name, record["s"], record["t"], float(value))
        for record, _ in read(run.folder / "journal.jsonl")
        for name, value in record.get("m", {}).items()
    )


def log_steps(tracker: MLflowTracker, first: int, last: int, *, pause_seconds: float = 0.0) -> float:
    longest = 0.0
    for step in range(first, last):
        began = time.perf_counter()
        tracker.log_metrics({f"m{index}": step + index / 7 for index in range(20)}, step=step)
        longest = max(longest, time.perf_counter() - began)
        time.sleep(pause_seconds)
    return longest


def test_a_run_whose_server_is_down_is_synced_later_without_loss_or_doubles(
    make_run: MakeRun, make_tracker: MakeTracker, server: Any
) -> None:
    run, threads = make_run(), threading.active_count()
    tracker = make_tracker(uri=server.uri, finish_timeout_seconds=10.0)
    began = time.monotonic()
    tracker.start(run)
    tracker.log_params({"seed": 0})
    (run.folder / "note.txt").write_text("kept")
    tracker.log_artifact(run.folder / "note.txt")
    log_steps(tracker, 0, 300)
    tracker.finish("FINISHED")
    assert time.monotonic() - began < 15
    assert threading.active_count() == threads

    server.start()
    assert sync(run.folder) == 304
    assert sync(run.folder) == 0
    assert stored(server.database) == recorded(run)
    assert len(recorded(run)) == 6000
    ((notes),) = list((server.database.parent / "server-artifacts").rglob("note.txt"))
    assert notes.read_text() == "kept"

    resumed = make_tracker(uri=server.uri, policy="fail")
    resumed.start(run)
    log_steps(resumed, 290, 310)
    resumed.finish("FINISHED")
    assert stored(server.database) == recorded(run)
    assert len(recorded(run)) == 6200
    connection = sqlite3.connect(server.database)
    assert connection.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]
    connection.close()
    assert resumed.location.startswith(f"{server.uri}/#/experiments/")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_or_hangs_in_mid_run_costs_no_step_and_loses_nothing(
    make_run: MakeRun, make_tracker: MakeTracker, server: Any, number: signal.Signals
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
    assert stored(server.database) == recorded(run)
    assert len(recorded(run)) == 8000


@pytest.mark.slow
def test_a_server_that_comes_back_gets_the_rest_while_the_run_goes_on(
    make_run: MakeRun, make_tracker: MakeTracker, server: Any
) -> None:
    server.start()
    run, tracker = make_run(), make_tracker(uri=server.uri, policy="fail")
    tracker.start(run)
    log_steps(tracker, 0, 100, pause_seconds=0.01)
    server.kill()
    log_steps(tracker, 100, 200, pause_seconds=0.01)
    server.start()
    log_steps(tracker, 200, 300, pause_seconds=0.02)
    tracker.finish("FINISHED")
    assert stored(server.database) == recorded(run)
    assert len(recorded(run)) == 6000
