from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runwright.config.addresses import to_path
from runwright.errors import TrackingError
from runwright.tracker.journal import read
from runwright.tracker.mlflow.store import client_settings
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.tracker.mlflow.upload import mlflow_name
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
MakeTracker = Callable[..., MLflowTracker]
Query = Callable[[str], list[tuple[Any, ...]]]

pytestmark = pytest.mark.usefixtures("store_there")


def journal_metrics(run: RunInfo) -> list[tuple[str, int, int, float]]:
    return sorted(
        (name, record["s"], record["t"], float(value))
        for record, _ in read(run.folder / "journal.jsonl")
        for name, value in record.get("m", {}).items()
    )


def test_a_run_is_stored_whole(make_run: MakeRun, make_tracker: MakeTracker, query: Query) -> None:
    run, tracker = make_run(), make_tracker()
    environment, threads = dict(os.environ), threading.active_count()
    tracker.start(run)
    tracker.log_params({"optimizer": {"lr": 1e-5}, "seed": 0})
    tracker.log_tags({"kind": "test"})
    for step in range(1, 301):
        tracker.log_metrics({"train/loss": 1 / step, "train/lr": 1e-5 * step}, step=step)
    (run.folder / "plots").mkdir()
    (run.folder / "plots" / "loss.png").write_bytes(b"png")
    (run.folder / "config.yaml").write_text("a: 1")
    tracker.log_artifact(run.folder / "plots")
    tracker.log_artifact(run.folder / "config.yaml")
    tracker.finish("FINISHED")

    stored = sorted(query("SELECT key, step, timestamp, value FROM metrics"))
    assert stored == journal_metrics(run)
    assert len(stored) == 600
    assert dict(query("SELECT key, value FROM params")) == {"optimizer.lr": "1e-05", "seed": "0"}
    tags = dict(query("SELECT key, value FROM tags"))
    assert tags["kind"] == "test"
    assert tags["runwright.run_id"] == "run-1"
    ((status, name, end, place),) = query("SELECT status, name, end_time, artifact_uri FROM runs")
    assert (status, name) == ("FINISHED", "demo-1")
    assert end >= stored[-1][2]
    place = Path(to_path(place))
    assert (place / "plots" / "loss.png").read_bytes() == b"png"
    assert (place / "config.yaml").read_text() == "a: 1"
    assert query("SELECT name FROM experiments WHERE name != 'Default'") == [("demo",)]
    assert threading.active_count() <= threads  # those of earlier tests may end meanwhile
    assert {name: os.environ.get(name) for name in environment} == environment


def test_a_resumed_run_is_the_same_run_with_each_step_once(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    run = make_run()
    for first, last, lr in ((1, 20, 1e-5), (11, 40, 2e-5)):
        tracker = make_tracker()
        tracker.start(run)
        tracker.log_params({"lr": lr, "seed": 0})
        for step in range(first, last + 1):
            tracker.log_metrics({"loss": 1 / step}, step=step)
        tracker.finish("KILLED" if last == 20 else "FINISHED")
    assert query("SELECT status FROM runs") == [("FINISHED",)]
    assert query("SELECT step, value FROM metrics ORDER BY step") == [(s, 1 / s) for s in range(1, 41)]
    assert dict(query("SELECT key, value FROM params")) == {"lr": "1e-05", "seed": "0"}
    assert dict(query("SELECT key, value FROM tags"))["runwright.changed.lr"] == "1e-05 → 2e-05"


def test_nothing_is_twice_after_the_position_was_lost(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    tracker.log_params({"seed": 0})
    for step in range(200):
        tracker.log_metrics({"a": float(step), "b": float("nan"), "c": float("inf")}, step=step)
    tracker.finish("FINISHED")
    state = run.folder / "mlflow.json"
    kept = state.read_text()
    state.write_text(kept.replace('"mlflow_run_id"', '"forgotten"').replace('"offset"', '"forgotten_offset"'))
    assert sync(run.folder) > 200
    assert sync(run.folder) == 0
    # Or is that of a longer journal, of which this one is an older copy.
    state.write_text(re.sub(r'"offset": \d+', '"offset": 999999999', state.read_text()))
    assert sync(run.folder) > 200
    assert query("SELECT count(*), count(DISTINCT key || ' ' || step) FROM metrics") == [(600, 600)]
    assert query("SELECT count(*) FROM runs") == [(1,)]


def test_many_and_odd_names_and_values_arrive(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    tracker.log_params({f"group.{index}": "x" * 5000 for index in range(250)} | {"long": "y" * 100_000})
    tracker.log_tags({"größe": "ü\x00\ud800", "bad@": "z" * 9000})
    tracker.log_metrics({f"many/{index}": float(index) for index in range(2500)}, step=1)
    tracker.log_metrics({"f1@10": float("inf"), "nan": float("nan"), "big": 1e308}, step=2**70)
    tracker.finish("FINISHED")
    assert query("SELECT count(*) FROM metrics") == [(2503,)]
    assert query("SELECT count(*) FROM params") == [(251,)]
    tags = dict(query("SELECT key, value FROM tags"))
    shown = mlflow_name("f1@10")
    assert query(f"SELECT value, is_nan FROM metrics WHERE key = '{shown}'") == [(1.7976931348623157e308, 0)]
    assert tags[f"runwright.infinite.{shown}"].startswith("inf")
    assert tags["größe"] == "ü\\x00\\ud800"
    ((long,),) = query("SELECT value FROM params WHERE key = 'long'")
    assert long.startswith("yyy")
    assert long.endswith("whole in the journal]")


def test_what_mlflow_refuses_does_not_keep_the_rest(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    tracker.log_params({"seed": 0})
    tracker.finish("KILLED")
    connection = sqlite3.connect(run.folder.parents[1] / "mlflow.db")
    connection.execute("UPDATE params SET value = 'other'")
    connection.execute("INSERT INTO params SELECT 'lr', 'other', run_uuid FROM params")
    connection.commit()
    connection.close()
    tracker = make_tracker()
    tracker.start(run)
    tracker.log_params({"lr": 1e-5, "epochs": 1, "size": 2})
    tracker.finish("FINISHED")
    assert query("SELECT key, value FROM params ORDER BY key") == [
        ("epochs", "1"),
        ("lr", "other"),
        ("seed", "other"),
        ("size", "2"),
    ]
    assert "MLflow refuses 'lr'" in caplog.text


def test_a_locked_store_neither_blocks_a_step_nor_loses_one(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    """For a second; for a minute beside a server that is away: test_server.py."""
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    tracker.log_metrics({"loss": 0.0}, step=0)
    assert tracker._tried.wait(60)
    time.sleep(0.5)
    connection = sqlite3.connect(run.folder.parents[1] / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    longest = 0.0
    for step in range(1, 101):
        began = time.perf_counter()
        tracker.log_metrics({"loss": float(step)}, step=step)
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.01)
    connection.execute("COMMIT")
    connection.close()
    tracker.finish("FINISHED")
    assert longest < 0.1
    assert query("SELECT count(*), max(step) FROM metrics") == [(101, 100)]


def test_a_run_that_was_moved_is_synced_from_its_new_place(
    make_run: MakeRun, make_tracker: MakeTracker, tmp_path: Path
) -> None:
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    (run.folder / "note.txt").write_text("kept")
    tracker.log_artifact(run.folder / "note.txt")
    tracker.log_metrics({"loss": 1.0}, step=1)
    tracker.finish("FINISHED")
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "outputs"
    shutil.copytree(run.folder, moved / "demo" / "run-1")
    assert sync(moved / "demo" / "run-1") == 4  # started, artifact, metric, ended
    connection = sqlite3.connect(moved / "mlflow.db")
    assert connection.execute("SELECT key, step, value FROM metrics").fetchall() == [("loss", 1, 1.0)]
    ((place,),) = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    connection.close()
    place = Path(to_path(place))
    assert place.is_relative_to(moved)
    assert (place / "note.txt").read_text() == "kept"


def test_policy_fail_does_not_start_without_a_server(
    make_run: MakeRun, make_tracker: MakeTracker, free_port: int
) -> None:
    threads, began = threading.active_count(), time.monotonic()
    tracker = make_tracker(uri=f"http://ann:hunter2@127.0.0.1:{free_port}", policy="fail")
    with pytest.raises(TrackingError, match=r"policy is fail.*policy=spool") as caught:
        tracker.start(make_run())
    assert "hunter2" not in str(caught.value)
    assert time.monotonic() - began < 10
    assert threading.active_count() <= threads  # those of earlier tests may end meanwhile


class AnswersNothingBut500(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(500)

    do_POST = do_GET  # noqa: N815 - the name that the server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture(params=["silent", pytest.param("answers 500", marks=pytest.mark.slow)])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "silent":
        with socket.socket() as silent:  # accepts connections, never answers
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), AnswersNothingBut500) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_bad_server_costs_the_start_its_limit_and_the_steps_nothing(
    bad_server: str,
    make_run: MakeRun,
    make_tracker: MakeTracker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    run = make_run()
    with client_settings():
        pass  # MLflow is imported: that is no part of what is measured
    tracker = make_tracker(uri=bad_server, start_timeout_seconds=1.0, finish_timeout_seconds=5.0)
    began = time.monotonic()
    tracker.start(run)
    started = time.monotonic()
    for step in range(1000):
        tracker.log_metrics({"loss": 1.0}, step=step)
    logged = time.monotonic()
    tracker.finish("FINISHED")
    finished = time.monotonic()
    assert started - began < 2  # 1 s for the decision
    assert logged - started < 2
    assert finished - logged < 6
    assert len(journal_metrics(run)) == 1000
    assert "the run goes on" in caplog.text
    assert "runwright sync" in caplog.text


def test_a_folder_is_no_store(make_run: MakeRun, make_tracker: MakeTracker, tmp_path: Path) -> None:
    tracker = make_tracker(uri=str(tmp_path / "mlruns"))
    with pytest.raises(TrackingError, match="sqlite:///"):
        tracker.start(make_run())


def test_a_run_is_not_uploaded_by_two_processes(make_run: MakeRun, make_tracker: MakeTracker) -> None:
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    tracker.log_metrics({"loss": 1.0}, step=1)
    assert tracker._tried.wait(60)
    time.sleep(0.5)
    with pytest.raises(TrackingError, match="another process"):
        sync(run.folder)
    tracker.finish("FINISHED")
    assert sync(run.folder) == 0


def test_sync_of_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"no mlflow\.json"):
        sync(tmp_path)


def test_mlflow_is_imported_after_the_first_step(tmp_path: Path) -> None:
    code = """
import sys
from functools import partial
from pathlib import Path
from runwright.tracker.mlflow.tracker import MLflowTracker
from runwright.types import RunInfo

folder = Path(sys.argv[1], "outputs", "demo", "a")
folder.mkdir(parents=True)
tracker = MLflowTracker(
    uri=None, experiment=None, artifact_uri=None, policy="spool", start_timeout_seconds=5,
    finish_timeout_seconds=60, upload_every_seconds=5, system_every_seconds=None,
)
config = {"output_dir": str(folder.parents[1])}
tracker.start(RunInfo(run_id="a", name="demo", folder=folder, config=config, overrides=()))
tracker.log_params({"seed": 0})
assert "mlflow" not in sys.modules
tracker.log_metrics({"loss": 1.0}, step=1)
tracker.finish("FINISHED")
assert "mlflow" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert (tmp_path / "outputs" / "mlflow.db").is_file()
