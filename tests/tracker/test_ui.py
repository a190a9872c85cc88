"""`runwright ui` with MLflow's real server: it answers, and nothing of it is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runwright.cli.main import main
from runwright.tracker.mlflow.tracker import MLflowTracker
from runwright.types import RunInfo


@pytest.fixture
def stored(
    store_there: None,
    make_run: Callable[..., RunInfo],
    make_tracker: Callable[..., MLflowTracker],
    tmp_path: Path,
) -> Path:
    """A folder with a store that holds one run."""
    tracker = make_tracker()
    run = make_run()
    (run.folder / "run.json").touch()
    tracker.start(run)
    tracker.log_metrics({"loss": 0.5}, step=1)
    tracker.finish("FINISHED")
    return tmp_path


@pytest.fixture
def command(stored: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, started like a person does, in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runwright", "ui"],
        cwd=stored,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def address_of(process: subprocess.Popen[str]) -> str:
    """The address that is printed, once the server answers there."""
    assert process.stdout
    assert "MLflow starts on" in process.stdout.readline()
    line = process.stdout.readline()
    match = re.fullmatch(r"open (http://127\.0\.0\.1:\d+)/#/experiments/1/runs\S+\n", line)
    assert match, line
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(match[1], timeout=5):
            break
        time.sleep(0.2)
    return match[1]


def test_it_shows_the_runs_and_ends_with_ctrl_c(command: subprocess.Popen[str]) -> None:
    address = address_of(command)
    with urllib.request.urlopen(address, timeout=5) as page:
        assert b"<title>MLflow</title>" in page.read()
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search",
        data=json.dumps({"experiment_ids": ["0", "1"]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        (run,) = json.load(answer)["runs"]
    assert run["info"]["run_name"] == "demo-1"
    assert run["data"]["metrics"][0]["value"] == 0.5
    others = family(command)
    assert others
    os.killpg(command.pid, signal.SIGINT)  # what a terminal does
    assert command.wait(30) == 0
    _, alive = psutil.wait_procs(others, timeout=10)
    assert not alive
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=2)


@pytest.mark.slow
def test_nothing_of_it_outlives_the_command(command: subprocess.Popen[str]) -> None:
    address_of(command)
    others = family(command)
    command.send_signal(signal.SIGTERM)
    assert command.wait(30) == 0
    _, alive = psutil.wait_procs(others, timeout=10)
    assert not alive


def test_a_port_that_is_taken_is_refused(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chdir(stored)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert main(["ui", "--port", str(listener.getsockname()[1])]) == 5
    assert "expected a free one" in capsys.readouterr().err


def test_without_a_store_it_says_so_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chdir(tmp_path)
    began = time.monotonic()
    assert main(["ui"]) == 5
    assert time.monotonic() - began < 5
    assert "the next run makes one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_server_needs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--uri", "http://ann:secret@localhost:5000"]) == 0
    out = capsys.readouterr().out
    assert "localhost:5000" in out
    assert "secret" not in out


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("mysql+nosuchdriver://ann:secret@127.0.0.1:9/runs", "nosuchdriver"),
        ("postgresql://ann:secret@127.0.0.1:9/runs", "refused"),
    ],
)
def test_a_database_that_does_not_answer_is_named(
    uri: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", "--uri", uri]) == 5
    err = capsys.readouterr().err
    assert reason in err
    assert "secret" not in err


def test_the_store_of_another_program_is_named_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chdir(tmp_path)
    file = tmp_path / "notes#1.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (x)")
    before = file.read_bytes()
    assert main(["ui", "--uri", "sqlite:///notes#1.db"]) == 5
    assert f"{file} lacks tables of MLflow (it has: notes)" in capsys.readouterr().err
    assert file.read_bytes() == before
