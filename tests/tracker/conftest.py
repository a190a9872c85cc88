"""Runs, stores and a real MLflow server for the tests of the tracker."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runwright.tracker.mlflow import MLflowTracker
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run in `outputs/` of the test's folder."""

    def make(run_id: str = "run-1", **config: Any) -> RunInfo:
        folder = tmp_path / "outputs" / "demo" / run_id
        folder.mkdir(parents=True, exist_ok=True)
        config = {"output_dir": str(tmp_path / "outputs"), **config}
        return RunInfo(run_id=run_id, name="demo", folder=folder, config=config, overrides=())

    return make


@pytest.fixture
def make_tracker() -> Callable[..., MLflowTracker]:
    def make(**options: Any) -> MLflowTracker:
        given = {
            "uri": None,
            "experiment": None,
            "artifact_uri": None,
            "policy": "spool",
            "start_timeout_seconds": 10.0,
            "finish_timeout_seconds": 60.0,
            "upload_every_seconds": 0.05,
            "register_as": None,
            "system_every_seconds": None,
        }
        return MLflowTracker(**(given | options))

    return make


@pytest.fixture
def query(tmp_path: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks the default store directly, around MLflow."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(tmp_path / "outputs" / "mlflow.db")
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    return ask


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A real `mlflow server` on loopback, in a process group of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self.database = folder / "server.db"
        self._folder, self._port = folder, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait_seconds: float = 90) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self.database}", "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "server-artifacts")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + wait_seconds
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                assert self._process.poll() is None, (self._folder / "server.log").read_text()
                time.sleep(0.2)
        raise AssertionError((self._folder / "server.log").read_text())

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path, free_port: int) -> Iterator[Server]:
    made = Server(tmp_path, free_port)
    yield made
    made.kill()
