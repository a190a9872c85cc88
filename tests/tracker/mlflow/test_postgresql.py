"""A team's store: a real PostgreSQL server that is new, shared, killed, and not always open to us."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from runwright.errors import TrackingError
from runwright.tracker.mlflow.store import Store, client_settings, prepare, probe
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
Recorded = Callable[[Path], list[tuple[str, int, int, float]]]
LogSteps = Callable[..., float]
MakeTracker = Callable[..., MLflowTracker]


def files_with(text: str, folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file() and text.encode() in each.read_bytes()]


def test_a_run_is_stored_whole_and_resumed_as_the_same_run(
    make_run: MakeRun,
    make_tracker: MakeTracker,
    database: Any,
    tmp_path: Path,
    recorded: Recorded,
    log_steps: LogSteps,
) -> None:
    run = make_run()
    artifacts = tmp_path / "shared"
    tracker = make_tracker(uri=database.uri, artifact_uri=str(artifacts), policy="fail")
    tracker.start(run)
    tracker.log_params({"optimizer": {"lr": 1e-5}, "note": "naïve 数据 a\x00b"})
    tracker.log_tags({"host": "h"})
    tracker.log_metrics({"f1@10": 0.5, "nothing": float("nan"), "much": float("inf")}, step=2**40)
    log_steps(tracker, 0, 100)
    (run.folder / "notes").mkdir()
    (run.folder / "notes" / "note.txt").write_text("kept")
    tracker.log_artifact(run.folder / "notes" / "note.txt")
    tracker.finish("KILLED")
    resumed = make_tracker(uri=database.uri, policy="fail")
    resumed.start(run)
    log_steps(resumed, 90, 110)
    resumed.finish("FINISHED")

    assert database.query("SELECT status FROM runs") == [("FINISHED",)]
    assert dict(database.query("SELECT key, value FROM params")) == {
        "optimizer.lr": "1e-05", "note": "naïve 数据 a\\x00b",
    }  # fmt: skip
    assert ("host", "h") in database.query("SELECT key, value FROM tags")
    stored = database.metrics()
    assert [each for each in stored if each[0][0] == "m" and each[0] != "much"] == [
        each for each in recorded(run.folder) if each[0][0] == "m" and each[0] != "much"
    ]
    assert len(stored) == 110 * 20 + 3
    assert database.query("SELECT value FROM metrics WHERE key = 'much'")[0][0] > 1.7e308
    (note,) = artifacts.rglob("notes/note.txt")
    assert note.read_text() == "kept"
    assert sync(run.folder, uri=database.uri) == 0


def test_nothing_is_twice_after_the_position_was_lost(
    make_run: MakeRun, make_tracker: MakeTracker, database: Any, recorded: Recorded, log_steps: LogSteps
) -> None:
    run = make_run()
    tracker = make_tracker(uri=database.uri, policy="fail")
    tracker.start(run)
    log_steps(tracker, 0, 100)
    tracker.finish("FINISHED")
    (run.folder / "mlflow.json").unlink()
    again = make_tracker(uri=database.uri, policy="fail")
    again.start(run)
    again.finish("FINISHED")
    assert database.metrics() == recorded(run.folder)
    assert database.query("SELECT count(*) FROM runs") == [(1,)]


@pytest.mark.parametrize(("mistake", "said"), [("password", "authentication failed"), ("name", "not exist")])
def test_a_store_that_does_not_let_us_in_is_said_and_no_password_is_written(
    make_run: MakeRun,
    make_tracker: MakeTracker,
    postgresql: Any,
    database: Any,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    mistake: str,
    said: str,
    log_steps: LogSteps,
) -> None:
    caplog.set_level(logging.DEBUG)
    later = f"later_{database.name}"
    wrong = {
        "password": postgresql.address(database.name, password="hunter3-wrong"),
        "name": postgresql.address(later),
    }[mistake]
    began = time.monotonic()
    with pytest.raises(TrackingError, match=f"{said}.*policy is fail") as caught:
        make_tracker(uri=wrong, policy="fail").start(make_run("refused"))
    assert time.monotonic() - began < 20  # MLflow by itself tries for 100 s
    run, tracker = make_run("spooled"), make_tracker(uri=wrong, finish_timeout_seconds=5.0)
    tracker.start(run)
    log_steps(tracker, 0, 10)
    tracker.finish("FINISHED")
    assert said in caplog.text
    assert "the run goes on" in caplog.text
    with pytest.raises(TrackingError, match="without its password; set MLFLOW_TRACKING_URI"):
        sync(run.folder)
    with pytest.raises(TrackingError, match=said):
        sync(run.folder, uri=wrong)
    for written in ("hunter2", "hunter3"):  # both stand in every quoted form of the passwords
        assert written not in caplog.text + str(caught.value)
        assert not files_with(written, tmp_path)

    if mistake == "name":
        postgresql.execute(f"CREATE DATABASE {later}")
    assert sync(run.folder, uri=wrong if mistake == "name" else database.uri) == 12
    name = later if mistake == "name" else database.name
    assert postgresql.execute("SELECT count(*) FROM metrics", database=name) == [(200,)]


def test_an_address_without_its_password_is_all_that_a_run_and_sync_need(
    make_run: MakeRun,
    make_tracker: MakeTracker,
    database: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    recorded: Recorded,
    log_steps: LogSteps,
) -> None:
    monkeypatch.setenv("PGPASSWORD", database.server.password)  # as libpq reads it
    run = make_run()
    uri = f"postgresql://ann@127.0.0.1:{database.server.port}/{database.name}"
    tracker = make_tracker(uri=uri, policy="fail")
    tracker.start(run)
    tracker.log_params({"note": f"it is {database.server.password}"})
    log_steps(tracker, 0, 10)
    tracker.finish("FINISHED")
    assert sync(run.folder) == 0
    assert database.metrics() == recorded(run.folder)
    assert database.query("SELECT value FROM params") == [("it is [redacted]",)]
    assert not files_with("hunter2", tmp_path)


def test_a_missing_driver_is_named_with_what_to_install(
    make_run: MakeRun, make_tracker: MakeTracker, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # importing it now fails as if it were not there
    uri = f"postgresql://ann:hunter2@127.0.0.1:{free_port}/runs"
    with pytest.raises(TrackingError, match=r"pip install 'runwright\[postgresql\]'") as caught:
        make_tracker(uri=uri, policy="fail").start(make_run())
    assert "hunter2" not in str(caught.value)
    assert "psycopg, which is not installed" in str(probe(Store(uri=uri, artifacts=None), timeout_seconds=5))


def test_tables_of_another_version_are_left_alone(
    make_run: MakeRun, make_tracker: MakeTracker, database: Any
) -> None:
    database.query("UPDATE alembic_version SET version_num = 'of2031'")
    tracker = make_tracker(uri=database.uri, policy="fail", start_timeout_seconds=5.0)
    with pytest.raises(TrackingError, match=r"another version of MLflow.*of2031"):
        tracker.start(make_run())
    assert database.query("SELECT version_num FROM alembic_version") == [("of2031",)]


def test_a_server_that_is_killed_and_comes_back_costs_no_step_and_gets_everything_once(
    make_run: MakeRun,
    make_tracker: MakeTracker,
    postgresql: Any,
    database: Any,
    recorded: Recorded,
    log_steps: LogSteps,
) -> None:
    run = make_run()
    tracker = make_tracker(uri=database.uri, policy="fail", finish_timeout_seconds=20.0)
    tracker.start(run)
    longest = log_steps(tracker, 0, 100, pause_seconds=0.005)
    until = time.monotonic() + 60
    while not database.metrics() and time.monotonic() < until:
        time.sleep(0.05)
    postgresql.kill()
    longest = max(longest, log_steps(tracker, 100, 200, pause_seconds=0.005))
    tracker.finish("FINISHED")
    postgresql.start()
    assert longest < 0.5  # an outage that is waited for takes seconds
    before = database.metrics()
    assert 0 < len(before) < 4000
    assert sync(run.folder, uri=database.uri) > 0
    assert sync(run.folder, uri=database.uri) == 0
    assert database.metrics() == recorded(run.folder)
    assert len(recorded(run.folder)) == 4000
    assert database.query("SELECT status FROM runs") == [("FINISHED",)]


@pytest.mark.slow
def test_a_server_that_comes_back_gets_the_rest_while_the_run_goes_on(
    make_run: MakeRun,
    make_tracker: MakeTracker,
    postgresql: Any,
    database: Any,
    recorded: Recorded,
    log_steps: LogSteps,
) -> None:
    run, tracker = make_run(), make_tracker(uri=database.uri, policy="fail")
    tracker.start(run)
    for first in range(0, 400, 100):  # three outages
        log_steps(tracker, first, first + 50, pause_seconds=0.01)
        if first < 300:
            postgresql.kill()
        log_steps(tracker, first + 50, first + 100, pause_seconds=0.01)
        if first < 300:
            postgresql.start()
    tracker.finish("FINISHED")
    assert database.metrics() == recorded(run.folder)
    assert len(recorded(run.folder)) == 8000


WRITER = """
import os, time
from runwright.tracker.mlflow.tracker import MLflowTracker
from runwright.tracker.mlflow.store import client_settings
from runwright.types import RunInfo

os.environ["MLFLOW_TRACKING_URI"], root, me, num_processes, num_steps = arguments
folder = root / "demo" / f"run{me}"
with client_settings():  # mlflow is loaded, so that all come to the new database at the same moment
    folder.mkdir(parents=True)
    while len(list((root / "demo").iterdir())) < num_processes:
        time.sleep(0.001)
tracker = MLflowTracker(uri=None, experiment=None, artifact_uri=None, policy="fail",
                        system_every_seconds=None, start_timeout_seconds=120.0, finish_timeout_seconds=120.0,
                        upload_every_seconds=0.1)
config = {"output_dir": str(root)}
tracker.start(RunInfo(run_id=f"id{me}", name="demo", folder=folder, config=config, overrides=()))
for step in range(num_steps):
    tracker.log_metrics({f"m{index}": step + me / 7 for index in range(20)}, step=step)
    time.sleep(0.002)
tracker.finish("FINISHED")
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("num_processes", "num_steps"), [(2, 20), pytest.param(8, 500, marks=pytest.mark.slow)]
)
def test_processes_make_a_new_database_once_and_write_at_once(
    context: ForkServerContext,
    new_database: Any,
    tmp_path: Path,
    recorded: Recorded,
    num_processes: int,
    num_steps: int,
) -> None:
    given = [(new_database.uri, tmp_path, me, num_processes, num_steps) for me in range(num_processes)]
    processes = [context.Process(target=exec, args=(WRITER, {"arguments": one})) for one in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * num_processes
    expected = [each for me in range(num_processes) for each in recorded(tmp_path / "demo" / f"run{me}")]
    assert new_database.metrics() == sorted(expected)
    assert len(expected) == num_processes * num_steps * 20
    assert new_database.query("SELECT status FROM runs") == [("FINISHED",)] * num_processes
    assert new_database.query("SELECT count(*) FROM experiments WHERE name = 'demo'") == [(1,)]


MAKER = """
from runwright.tracker.mlflow.store import client_settings, prepare
with client_settings():
    ready.send(True)
    prepare(store, timeout_seconds=60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.4, 0.6, 0.9])
def test_a_kill_while_the_tables_are_made_leaves_a_database_that_the_next_one_completes(
    context: ForkServerContext, new_database: Any, seconds: float
) -> None:
    store, (is_ready, ready) = Store(uri=new_database.uri, artifacts="unused"), context.Pipe(duplex=False)
    process = context.Process(target=exec, args=(MAKER, {"store": store, "ready": ready}))
    process.start()
    assert is_ready.recv()
    time.sleep(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)
    with client_settings():
        prepare(store, timeout_seconds=60)
    assert new_database.query("SELECT name FROM experiments") == [("Default",)]
    assert len(new_database.query("SELECT version_num FROM alembic_version")) == 1
