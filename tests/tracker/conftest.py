"""Runs, stores and a real MLflow server for the tests of the tracker."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from runwright.config.addresses import to_address
from runwright.tracker.journal import read
from runwright.tracker.mlflow.store import Store, client_settings, prepare
from runwright.tracker.mlflow.tracker import MLflowTracker
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
Recorded = Callable[[Path], list[tuple[str, int, int, float]]]
LogSteps = Callable[..., float]


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
def store_there(tmp_path: Path, empty_store: Path) -> None:
    """Put an empty store where the runs of the test look for it."""
    (tmp_path / "outputs").mkdir()
    shutil.copy(empty_store, tmp_path / "outputs" / "mlflow.db")


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
def recorded() -> Recorded:
    """Every figure of a run's journal: name, step, time in milliseconds, value."""

    def read_figures(folder: Path) -> list[tuple[str, int, int, float]]:
        return sorted(
            (name, record["s"], record["t"], float(value))
            for record, _ in read(folder / "journal.jsonl")
            for name, value in record.get("m", {}).items()
        )

    return read_figures


@pytest.fixture
def log_steps() -> LogSteps:
    """Logs 20 figures at each step from `first` to before `last`; the longest call in seconds."""

    def log(tracker: MLflowTracker, first: int, last: int, *, pause_seconds: float = 0.0) -> float:
        longest = 0.0
        for step in range(first, last):
            began = time.perf_counter()
            tracker.log_metrics({f"m{index}": step + index / 7 for index in range(20)}, step=step)
            longest = max(longest, time.perf_counter() - began)
            time.sleep(pause_seconds)
        return longest

    return log


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
        command += ["--backend-store-uri", to_address(self.database, "sqlite"), "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "server-artifacts")]
        with (self._folder / "server.log").open("ab") as log:
            # Without its jobs, which no client of ours sends: nine processes less that import MLflow.
            environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True, env=environment
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


class PostgreSQL:
    """A real PostgreSQL server on loopback in a folder of its own; not as root, which it refuses."""

    password = "p@ss/w%rd:hunter2"  # every character that an address has to quote

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.port = port
        self._programs, self._folder = programs, folder
        # `postgres` where Debian's package made it, else the account that every system has.
        names = [entry.pw_name for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody")]
        self._user = max(names) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        if self._user is not None:
            for path in (self._folder, secret):
                shutil.chown(path, self._user)
        command = ["initdb", "--pgdata", "data", "--username", "ann", "--pwfile", "password", "--no-sync"]
        self._run(*command, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C").wait()

    def start(self) -> None:
        place = ["-D", "data", "-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder)]
        # What a killed server has handed to the system is there afterwards; only a power cut needs the disk.
        self._process = self._run("postgres", *place, "-c", "fsync=off", "-c", "max_wal_size=64MB")
        until = time.monotonic() + 60
        while True:
            try:
                return self.execute("SELECT 1")
            except Exception:  # noqa: BLE001 - whatever it says while it starts
                log = (self._folder / "log").read_text()
                assert self._process.poll() is None and time.monotonic() < until, log  # noqa: PT018
                time.sleep(0.1)

    def kill(self) -> None:
        """End it and its processes at once."""
        if self._process is None or self._process.poll() is not None:
            return
        whole = psutil.Process(self._process.pid)
        for process in [whole, *whole.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # without their server they end by themselves
                process.kill()
        self._process.wait()

    def address(self, database: str, *, password: str | None = None) -> str:
        secret = quote(password or self.password, safe="")
        return f"postgresql://ann:{secret}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, *, database: str = "postgres") -> Any:
        """The rows of a query, asked directly, around MLflow."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type] - a text of ours
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                user=self._user,
                extra_groups=[] if self._user else None,
                start_new_session=True,
            )


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """The server; a test that asks for it skips where it is not installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'runwright[postgresql]'")
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/pgsql").glob("*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, sorted(folders, reverse=True))])
    found = shutil.which("initdb", path=path)
    if found is None:
        pytest.skip("no PostgreSQL server: initdb is not there; on Debian: apt-get install postgresql")
    # In memory where there is room, and not below pytest's folder, which nobody but root may enter.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="runwright-pg-", dir=memory if roomy else None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = PostgreSQL(Path(found).resolve().parent, folder, port)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class Database:
    """A database of the server, for one test."""

    def __init__(self, server: PostgreSQL, name: str) -> None:
        self.server, self.name, self.uri = server, name, server.address(name)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, database=self.name)

    def metrics(self) -> list[tuple[Any, ...]]:
        return sorted(self.query("SELECT key, step, timestamp, value FROM metrics"))


@pytest.fixture
def new_database(postgresql: PostgreSQL) -> Database:
    """One without tables."""
    return _made(postgresql, template="template1")


@pytest.fixture(scope="module")
def template(postgresql: PostgreSQL) -> str:
    """A database with MLflow's tables to be copied: making them takes seconds."""
    made = _made(postgresql, template="template1")
    with client_settings():
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        prepare(Store(uri=made.uri, artifacts="unused"), timeout_seconds=60)
        SqlAlchemyStore._engine_map.pop(made.uri).dispose()  # only one without connections can be copied
    return made.name


@pytest.fixture
def database(postgresql: PostgreSQL, template: str) -> Database:
    """One with MLflow's tables and nothing in them."""
    return _made(postgresql, template=template)


def _made(server: PostgreSQL, *, template: str) -> Database:
    name = f"runs_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return Database(server, name)
