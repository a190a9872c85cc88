"""`runwright doctor` on real stores, runs that really died, and what `--fix` makes of them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from runwright.analysis.doctor import check_store
from runwright.cli.main import main
from runwright.config.addresses import to_address
from runwright.config.folders import find_conf_folders
from runwright.config.targets import instantiate
from runwright.runs.folder import create, read_run, update_status
from runwright.tracker.mlflow.store import Store
from runwright.types import RunInfo

DYING = """
import sys, time
from runwright.runs.folder import create, update_status
from runwright.runs.states import run_lock

folder = create({"name": "demo", "output_dir": "outputs"}, overrides=[], command=[])
with run_lock(folder):
    update_status(folder, "RUNNING")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> None:
    os.chdir(tmp_path)


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Store:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(empty_store.read_bytes())
    return Store(uri=to_address(copy, "sqlite"), artifacts=None)


def report(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["doctor", "--json", *flags])
    return code, json.loads(capsys.readouterr().out)


def track(name: str, *, uri: str | None = None) -> Path:
    """A finished run that was tracked, or was to be."""
    config = {"name": name, "output_dir": "outputs"}
    folder = create(config, overrides=[], command=[])
    node = yaml.safe_load((find_conf_folders().shipped / "tracker" / "mlflow.yaml").read_text())
    node |= {"uri": uri, "system_every_seconds": None, "upload_every_seconds": 0.05}
    node["finish_timeout_seconds"] = 60.0 if uri is None else 3.0
    tracker = instantiate(node, group="tracker", key="tracker")
    tracker.start(
        RunInfo(run_id=read_run(folder)["run_id"], name=name, folder=folder, config=config, overrides=())
    )
    tracker.log_metrics({"loss": 1.0}, step=1)
    tracker.finish("FINISHED")
    update_status(folder, "FINISHED")
    return folder


def test_an_empty_folder_is_well_and_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, findings = report(capsys)
    assert (code, [each for each in findings if each["level"] == "problem"]) == (0, [])
    assert {"torch", "runs", "store", "uploads"} == {each["what"] for each in findings}
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_is_named_and_not_counted(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path("outputs/demo/2026-01-01_00-00-00-abc")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("[]")
    code, findings = report(capsys)
    assert (code, next(f["text"] for f in findings if f["what"] == "runs")[:13]) == (0, "0 in outputs,")
    assert caplog.messages == [f"left out, since run.json cannot be read: {folder}"]


def test_a_run_that_died_is_a_problem_until_it_is_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen([sys.executable, "-P", "-c", DYING], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    folder = Path(process.stdout.readline().strip())
    assert main(["doctor"]) == 0  # it lives
    process.kill()
    process.communicate()
    capsys.readouterr()
    code, findings = report(capsys)
    (problem,) = [each for each in findings if each["level"] == "problem"]
    assert code == 1
    assert folder.name in problem["text"]
    assert problem["advice"] == "runwright doctor --fix marks it"
    assert read_run(folder)["status"] == "RUNNING"
    assert report(capsys, "--fix")[0] == 0
    assert read_run(folder)["status"] == "KILLED"
    assert report(capsys)[0] == 0


def test_what_mlflow_lacks_is_said_and_sent(empty_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("outputs").mkdir()
    shutil.copy(empty_store, "outputs/mlflow.db")
    folder = track("demo")
    assert next(each for each in report(capsys)[1] if each["what"] == "uploads")["level"] == "ok"
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write('{"t":1,"s":2,"m":{"loss":0.5}}\n')
    uploads = next(each for each in report(capsys, "--fix")[1] if each["what"] == "uploads")
    assert (uploads["level"], uploads["advice"]) == ("warning", "runwright sync --all")
    assert main(["sync", "--all"]) == 0
    assert "1 records sent" in capsys.readouterr().out
    connection = sqlite3.connect("outputs/mlflow.db")
    assert connection.execute("SELECT step, value FROM metrics ORDER BY step").fetchall() == [
        (1, 1.0),
        (2, 0.5),
    ]
    connection.close()


def test_the_report_is_one_line_each_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    Path("outputs").mkdir()
    Path("outputs/mlflow.db").write_bytes(b"no database" * 999)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("problem"))
    assert "mlflow.db" in lines[place]
    assert "→" in lines[place + 1]
    assert lines[-1].startswith("1 problems, ")


# --- stores -------------------------------------------------------------------------------------------


def test_a_whole_store_is_well(store: Store) -> None:
    assert check_store(store).level == "ok"


def test_a_locked_store_is_a_problem(store: Store) -> None:
    assert store.file
    connection = sqlite3.connect(store.file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    finding = check_store(store)
    connection.execute("ROLLBACK")
    assert (finding.level, "is locked" in finding.text) == ("problem", True)
    connection.close()
    assert check_store(store).level == "ok"


def test_a_store_of_another_version_is_a_problem(store: Store) -> None:
    assert store.file
    connection = sqlite3.connect(store.file)
    connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    connection.commit()
    connection.close()
    finding = check_store(store)
    assert finding.level == "problem"
    assert "mlflow db upgrade" in finding.advice


@pytest.mark.parametrize("content", [b"", b"no database, but long enough" * 200])
def test_a_file_that_is_no_store_is_a_problem(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(content)
    assert check_store(Store(uri=to_address(tmp_path / "x.db", "sqlite"), artifacts=None)).level == "problem"


def test_a_server_that_does_not_answer_is_a_problem_without_its_password(free: int) -> None:
    finding = check_store(Store(uri=f"http://ann:hunter2@127.0.0.1:{free}", artifacts=None))
    assert finding.level == "problem"
    assert "refused" in finding.text
    assert "hunter2" not in finding.text


@pytest.fixture
def free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_run_whose_server_is_down_is_not_uploaded(free: int, capsys: pytest.CaptureFixture[str]) -> None:
    folder = track("demo", uri=f"http://127.0.0.1:{free}")
    uploads = next(each for each in report(capsys)[1] if each["what"] == "uploads")
    assert (uploads["level"], folder.name in uploads["text"]) == ("warning", True)
    assert main(["sync", "--all"]) == 5
