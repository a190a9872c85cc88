from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from runwright.errors import TrackingError
from runwright.tracker.mlflow.store import Store, client_settings, locate, prepare, probe

RACER = """
import time
from pathlib import Path
from runwright.tracker.mlflow.tracker import MLflowTracker
from runwright.types import RunInfo

root, me, num_processes, num_stores, num_steps = arguments
for number in range(num_stores):
    store = root / f"store{number}"
    folder = store / "demo" / f"run{me}"
    folder.mkdir(parents=True)
    while len(list((store / "demo").iterdir())) < num_processes:  # all start at the same moment
        time.sleep(0.001)
    limits = {"start_timeout_seconds": 120.0, "finish_timeout_seconds": 120.0, "upload_every_seconds": 0.1}
    tracker = MLflowTracker(uri=None, experiment=None, artifact_uri=None, policy="fail",
                            system_every_seconds=None, **limits)
    config = {"output_dir": str(store)}
    tracker.start(RunInfo(run_id=f"id{me}", name="demo", folder=folder, config=config, overrides=()))
    for step in range(num_steps):
        tracker.log_metrics({"loss": step + me / 7}, step=step)
    tracker.finish("FINISHED")
"""


def race(
    context: ForkServerContext, root: Path, num_processes: int, num_stores: int, num_steps: int
) -> list[tuple[int, int, int]]:
    """Runs, distinct ids and metrics in each store after all processes used it at once."""
    given = [(root, me, num_processes, num_stores, num_steps) for me in range(num_processes)]
    processes = [context.Process(target=exec, args=(RACER, {"arguments": one})) for one in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * num_processes
    found = []
    for number in range(num_stores):
        connection = sqlite3.connect(root / f"store{number}" / "mlflow.db")
        query = "SELECT count(DISTINCT r.run_uuid), count(DISTINCT t.value), count(*) FROM runs r "
        query += "JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'runwright.run_id' "
        query += "JOIN metrics m ON m.run_uuid = r.run_uuid WHERE r.status = 'FINISHED'"
        found += connection.execute(query).fetchall()
        connection.close()
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("num_processes", "num_stores", "num_steps"), [(4, 2, 5), (16, 20, 5), (8, 1, 1000)])
def test_a_new_store_is_made_once_by_many_processes_and_loses_no_step(
    context: ForkServerContext, num_processes: int, num_stores: int, num_steps: int, tmp_path: Path
) -> None:
    expected = (num_processes, num_processes, num_processes * num_steps)
    assert race(context, tmp_path, num_processes, num_stores, num_steps) == [expected] * num_stores


MAKER = """
import sys
from pathlib import Path
from runwright.tracker.mlflow.store import client_settings, locate, prepare
with client_settings():
    print("ready", flush=True)
    prepare(locate(None, artifacts=None, output_dir=Path(sys.argv[1])), timeout_seconds=60)
"""


def test_a_kill_while_a_store_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 30
    while not (tmp_path / ".mlflow.db.new").exists() and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert (tmp_path / ".mlflow.db.new").exists()
    assert not (tmp_path / "mlflow.db").exists()
    with client_settings():
        prepare(locate(None, artifacts=None, output_dir=tmp_path), timeout_seconds=60)
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    assert connection.execute("SELECT name FROM experiments").fetchall() == [("Default",)]
    connection.close()
    assert not (tmp_path / ".mlflow.db.new").exists()


def test_the_store_is_the_given_one_then_the_environments_then_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = Path("outputs")
    assert locate(None, artifacts=None, output_dir=outputs).uri == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert locate("sqlite:///x/y.db", artifacts=None, output_dir=outputs) == Store(
        uri=f"sqlite:///{tmp_path}/x/y.db", artifacts=f"file://{tmp_path}/x/mlartifacts"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert locate(None, artifacts=None, output_dir=outputs) == Store(uri="http://host:5000", artifacts=None)
    assert locate("http://other", artifacts="s3://bucket", output_dir=outputs).uri == "http://other"


def test_an_address_of_sqlite_keeps_its_options_and_is_seen_from_the_folder_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = locate("sqlite:///m#1.db?timeout=60", artifacts="files #1", output_dir=Path("outputs"))
    assert (store.uri, store.file) == (f"sqlite:///{tmp_path}/m#1.db?timeout=60", tmp_path / "m#1.db")
    assert store.artifacts == f"file://{tmp_path}/files%20%231"
    assert locate(store.uri, artifacts=store.artifacts, output_dir=Path("elsewhere")) == store


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "sqlite://m.db", "sqlite:m.db"])
def test_an_address_without_a_file_is_refused_with_how_to_write_it(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"names no file.*sqlite:///PATH\.db"):
        locate(uri, artifacts=None, output_dir=tmp_path)


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///tmp/mlruns", "/tmp/mlruns"])
def test_a_folder_is_refused_with_what_to_write_instead(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"sqlite:///PATH\.db"):
        locate(uri, artifacts=None, output_dir=tmp_path)


def test_a_password_that_is_not_quoted_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="%XX") as caught:
        locate("postgresql://ann:hunter2[x]y@host/runs", artifacts=None, output_dir=tmp_path)
    assert "hunter2" not in str(caught.value)
    assert "y@host" not in str(caught.value)


def test_a_closed_port_is_known_at_once(free_port: int) -> None:
    for uri in (f"http://127.0.0.1:{free_port}", f"postgresql://a:b@127.0.0.1:{free_port}/x"):
        began = time.monotonic()
        assert "refused" in str(probe(Store(uri=uri, artifacts=None), timeout_seconds=10))
        assert time.monotonic() - began < 2


def test_mlflows_settings_are_ours_for_a_while_and_the_users_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with client_settings():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_store_that_is_there_is_left_alone(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path)
    store = locate(None, artifacts=None, output_dir=tmp_path)
    with client_settings():
        prepare(store, timeout_seconds=60)  # a copied one gets the address of its files here
        before = (tmp_path / "mlflow.db").stat()
        prepare(store, timeout_seconds=60)
    assert (tmp_path / "mlflow.db").stat().st_mtime_ns == before.st_mtime_ns


def test_a_password_for_artifacts_is_refused_since_the_store_would_keep_it(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"artifact_uri .*redacted") as caught:
        locate(None, artifacts="ftp://ann:hunter2x@host/x", output_dir=tmp_path)
    assert "hunter2x" not in str(caught.value)
