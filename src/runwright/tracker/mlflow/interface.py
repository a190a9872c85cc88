"""MLflow's own pages on a store: a server that ends with the command that started it, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from runwright.config.redaction import redact
from runwright.errors import TrackingError
from runwright.tracker.mlflow.sqlite_file import require_tables
from runwright.tracker.mlflow.store import Store, client_settings, require_driver

LOOPBACK = "127.0.0.1"
START_SECONDS = 120.0  # a cold start on a busy machine took 40
END_SECONDS = 10.0
TAIL_LINES = 15
# Ends the server's process group when the command is gone, however it ended: its end of the pipe is closed.
GUARD = 'read -r group; read -r _; kill -s KILL -- "-$group" 2>/dev/null'


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


def check_port(port: int, host: str) -> None:
    """Raise TrackingError where the port cannot be listened on."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            raise TrackingError(
                f"--port {port}: given a port that cannot be had on {host} ({error}), expected a free one; "
                "without --port one is found"
            ) from error


@contextmanager
def serve(store: Store, *, host: str, port: int, num_workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on a store, answering; its whole process group is gone at the end of the block.

    Raises TrackingError, with the end of what the server said, where it does not come up.
    """
    with tempfile.TemporaryFile() as log, _process(store, host, port, num_workers, log) as process:
        _await(process, f"http://{host}:{port}/health", lambda: _tail(log))
        yield process


@contextmanager
def _process(
    store: Store, host: str, port: int, num_workers: int, log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--workers", str(num_workers)]
    if store.artifacts:
        command += ["--default-artifact-root", store.artifacts, "--artifacts-destination", store.artifacts]
    # The address goes by the environment: it may hold a password, and everybody sees command lines.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # runners of jobs that nobody has here
    }
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=store.file.parent if store.file else None,
        start_new_session=True,  # Ctrl-C is for us to hear, and to pass on
    )
    guard = subprocess.Popen(  # noqa: S603 - fixed words
        ["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, start_new_session=True
    )
    assert guard.stdin is not None
    guard.stdin.write(f"{process.pid}\n".encode())
    guard.stdin.flush()
    try:
        yield process
    finally:
        _end(process)
        guard.stdin.close()  # ends what is left of the group
        guard.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(process: subprocess.Popen[bytes], url: str, tail: Callable[[], str]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise TrackingError(f"MLflow's server ended with code {process.returncode}:\n{tail()}")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - http, to this machine
                return
        except OSError:
            time.sleep(0.2)
    raise TrackingError(f"MLflow's server did not answer within {START_SECONDS:g} s:\n{tail()}")


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").splitlines()
    return redact("\n".join(lines[-TAIL_LINES:]))


def require_store(store: Store) -> None:
    """Raise TrackingError where there is no store of runs yet, something else, or no driver for it."""
    require_driver(store)
    if store.file is None:
        return
    if not store.file.exists():
        raise TrackingError(
            f"{store.file}: given no store, expected one; it is made by the first run with tracker=mlflow "
            "(--output-dir and --uri name others)"
        )
    with client_settings():
        require_tables(store.file, address=redact(store.uri))
