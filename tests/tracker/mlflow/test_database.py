"""A sqlite store: what is there is never replaced, and what is no store of MLflow is named."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from runwright.analysis.doctor import check_store
from runwright.config.addresses import to_address, to_path
from runwright.errors import TrackingError
from runwright.tracker.journal import read
from runwright.tracker.mlflow.store import (
    ADDRESS_COLUMNS,
    TABLES,
    Store,
    client_settings,
    follow_move,
    latest_version,
    locate,
    prepare,
    publish,
    require_tables,
)
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
MakeTracker = Callable[..., MLflowTracker]
ODD = "a #1 %25?;:'ü=[x]"


def write_database(file: Path, *, tables: Iterable[str], version: str | None = None) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 1")  # a database of no table has at least a first page
    for table in sorted(tables):
        connection.execute(f"CREATE TABLE {table} (version_num TEXT)")
    if version is not None:
        connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    connection.commit()
    connection.close()


def write_damaged(file: Path) -> None:
    write_database(file, tables=TABLES)
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xff" * 1000 + content[1100:])


OTHERS = {
    "an empty one": Path.touch,
    "file is not a database": lambda file: file.write_text("my notes, long enough to be read as one\n" * 30),
    "it has: pages, users": lambda file: write_database(file, tables=["users", "pages"]),
    "it has: none": lambda file: write_database(file, tables=[]),
    "left half made": lambda file: write_database(file, tables=["alembic_version", "runs", "experiments"]),
    "lacks tables of MLflow": lambda file: write_database(file, tables=TABLES),  # no version: half made
    "schema 451aebb31d03": lambda file: write_database(file, tables=TABLES, version="451aebb31d03"),
    "malformed": write_damaged,
    "is no file": Path.mkdir,
}


@pytest.mark.parametrize("reason", OTHERS)
def test_what_is_no_store_is_named_and_stays_as_it_is(reason: str, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    OTHERS[reason](file)
    before = file.read_bytes() if file.is_file() else None
    store = locate(None, artifacts=None, output_dir=tmp_path)
    with client_settings(), pytest.raises(TrackingError, match=reason) as caught:
        prepare(store, timeout_seconds=5)
    assert str(file) in str(caught.value)
    finding = check_store(store)
    assert (finding.level, f"{finding.text}: {finding.advice}") == ("problem", str(caught.value))
    assert before is None or file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_appears_while_a_store_is_made_stays(tmp_path: Path) -> None:
    file, errors = tmp_path / "mlflow.db", []

    def make() -> None:
        try:
            prepare(locate(None, artifacts=None, output_dir=tmp_path), timeout_seconds=60)
        except TrackingError as error:
            errors.append(str(error))

    with client_settings():
        maker = threading.Thread(target=make)
        maker.start()
        while maker.is_alive() and not (tmp_path / ".mlflow.db.new").exists():
            time.sleep(0.001)
        write_database(file, tables=["notes"])
        maker.join()
    assert "it has: notes" in errors[0]
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("there", ["precious", None])
def test_a_new_file_never_takes_the_place_of_another(
    has_links: bool, there: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, file = tmp_path / "new", tmp_path / "file"
    new.write_text("made")
    if there is not None:
        file.write_text(there)
    if not has_links:  # as on a memory stick, which no test can plug in
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    publish(new, file)
    assert file.read_text() == (there or "made")
    assert list(tmp_path.iterdir()) == [file]


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.execute("UPDATE runs SET version_num = 'lost'")
print("writing", flush=True)
time.sleep(600)
"""


def test_a_store_whose_writer_was_killed_is_none_the_worse(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    write_database(file, tables=TABLES, version=latest_version())
    connection = sqlite3.connect(file)
    connection.executemany("INSERT INTO runs VALUES (?)", [("kept" * 100,)] * 500)
    connection.commit()
    connection.close()
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 0  # half of the change is in the file
    require_tables(Store(uri=to_address(file, "sqlite"), artifacts=None))
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT count(*) FROM runs WHERE version_num LIKE 'kept%'").fetchall() == [
        (500,)
    ]
    connection.close()


def test_training_goes_on_beside_a_foreign_file_and_is_sent_when_it_is_gone(
    make_run: MakeRun, make_tracker: MakeTracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, file = make_run(), tmp_path / "outputs" / "mlflow.db"
    write_database(file, tables=["notes"])
    before = file.read_bytes()
    tracker = make_tracker()
    tracker.start(run)
    tracker.log_metrics({"loss": 0.5}, step=1)
    tracker.finish("FINISHED")
    assert f"{file} lacks tables of MLflow (it has: notes)" in caplog.text
    assert "the run goes on" in caplog.text
    assert file.read_bytes() == before
    assert [record["m"] for record, _ in read(run.folder / "journal.jsonl") if "m" in record] == [
        {"loss": 0.5}
    ]
    with pytest.raises(TrackingError, match="it has: notes"):
        sync(run.folder)
    file.rename(tmp_path / "notes.db")
    assert sync(run.folder) == 3  # started, metric, ended


def test_a_run_does_not_wait_longer_for_a_store_that_is_being_made_than_for_its_answers(
    make_run: MakeRun, make_tracker: MakeTracker, empty_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, tracker = make_run(), make_tracker(finish_timeout_seconds=0.5)
    file = run.folder.parents[1] / "mlflow.db"
    with FileLock(f"{file}.lock"):  # as while another process makes it
        tracker.start(run)
        tracker.log_metrics({"loss": 0.5}, step=1)
        began = time.monotonic()
        tracker.finish("FINISHED")
        assert time.monotonic() - began < 3
        assert "it was not ready in 0.5 s); later: runwright sync" in caplog.text
        shutil.copy(empty_store, file)
    for thread in [one for one in threading.enumerate() if one.name == "runwright-mlflow"]:
        thread.join(30)
    assert sync(run.folder) == 0  # the thread went on with what the end of the run did not wait for


def test_policy_fail_does_not_start_with_a_foreign_file(
    make_run: MakeRun, make_tracker: MakeTracker, tmp_path: Path
) -> None:
    run = make_run()
    write_database(tmp_path / "outputs" / "mlflow.db", tables=["notes"])
    with pytest.raises(TrackingError, match=r"it has: notes.*policy is fail"):
        make_tracker(policy="fail", start_timeout_seconds=1.0).start(run)


def test_runs_in_a_folder_of_an_odd_name_are_all_in_the_store_with_their_files(
    make_tracker: MakeTracker, tmp_path: Path
) -> None:
    outputs = tmp_path / ODD / "outputs"
    for run_id in ("one", "two"):
        folder = outputs / "x y" / run_id
        folder.mkdir(parents=True)
        tracker = make_tracker()
        config = {"output_dir": str(outputs)}
        tracker.start(RunInfo(run_id=run_id, name="x y", folder=folder, config=config, overrides=()))
        (folder / "plots").mkdir()
        (folder / "plots" / "loss.png").write_text(run_id)
        tracker.log_artifact(folder / "plots" / "loss.png")
        tracker.log_metrics({"loss": 0.5}, step=1)
        tracker.finish("FINISHED")
    runs = runs_of(Store(uri=to_address(outputs / "mlflow.db", "sqlite"), artifacts=None))
    assert [(run["name"], run["loss"], run["plot"]) for run in runs] == [
        ("x y-one", 0.5, "one"),
        ("x y-two", 0.5, "two"),
    ]
    place = outputs / "mlartifacts" / "x y"
    assert all(run["place"].is_relative_to(place) for run in runs)
    assert sorted(path.name for path in outputs.iterdir()) == [
        "mlartifacts",
        "mlflow.db",
        "mlflow.db.lock",
        "x y",
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / ODD]


def runs_of(store: Store) -> list[dict[str, Any]]:
    """What MLflow's own client finds in a store."""
    with client_settings():
        from mlflow.tracking import MlflowClient

        client = MlflowClient(store.uri)
        (experiment,) = [each for each in client.search_experiments() if each.name == "x y"]
        runs = sorted(client.search_runs([experiment.experiment_id]), key=lambda run: str(run.info.run_name))
        return [
            {
                "name": run.info.run_name,
                "loss": run.data.metrics["loss"],
                "plot": Path(client.download_artifacts(run.info.run_id, "plots/loss.png")).read_text(),
                "place": to_path(str(run.info.artifact_uri)),
            }
            for run in runs
        ]


def test_a_foreign_database_is_not_taken_for_a_store_while_it_is_locked(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    write_database(file, tables=["notes"])
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingError, match=r"is locked.*end the program that holds it"):
        require_tables(Store(uri=to_address(file, "sqlite"), artifacts=None), locked_seconds=0.1)
    connection.close()


def test_addresses_of_files_follow_a_store_that_was_moved(tmp_path: Path) -> None:
    file, here = tmp_path / "mlflow.db", f"file://{tmp_path}/mlartifacts"
    old, others = "file:///gone/outputs/mlartifacts", ("s3://bucket/mlartifacts/a", "file:///my/own")
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        for table, _, column in (address.partition(".") for address in ADDRESS_COLUMNS[:4]):
            connection.execute(f"CREATE TABLE {table} ({column} TEXT, storage_location TEXT)")
            for address in (f"{old}/exp/x", f"{here}/new", *others, None):
                connection.execute(f"INSERT INTO {table} VALUES (?, NULL)", (address,))
        connection.execute("UPDATE experiments SET artifact_location = replace(artifact_location, '/x', '')")
    assert follow_move(file, artifacts=here) == old
    assert follow_move(file, artifacts=here) is None
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for table in ("experiments", "runs", "logged_models", "model_versions"):
            found = [row[0] for row in connection.execute(f"SELECT * FROM {table}")]
            end = "/exp" if table == "experiments" else "/exp/x"
            assert found == [here + end, f"{here}/new", *others, None], table
