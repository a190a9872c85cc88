"""`runwright ui`: MLflow's pages on the runs' store, for this machine only, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from runwright.errors import TrackingError

HOST = "127.0.0.1"  # whoever reached the server could read and delete runs
ANSWER_SECONDS = 60  # importing MLflow takes its server 5 to 20 s
RUNS = "runs?workflowType=machine_learning"  # MLflow 3.17 begins with its pages for language models

EXAMPLES = """examples:
  runwright ui      the store of the runs in outputs/, on a free port
  runwright ui --port 5000
  runwright ui --uri sqlite:///elsewhere/mlflow.db

The server asks nobody for a password. From another machine:
ssh -L 5000:127.0.0.1:5000 THIS-MACHINE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", type=int, default=0, metavar="N", help="default: a free one")
    add("--uri", help="the store; default: MLFLOW_TRACKING_URI, else the one in --output-dir")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def _say_when_it_answers(address: str, *, server: int) -> None:
    """Print the address of the newest experiment's runs once the server answers."""
    from runwright.tracker.mlflow.upload import VIEW_TAG

    until = time.monotonic() + ANSWER_SECONDS
    while os.getppid() == server and time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, KeyError):
            query = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
            with urlopen(query, timeout=10) as answer:  # noqa: S310 - our own http address
                (newest,) = json.load(answer)["experiments"]
            view = "&viewStateShareKey=runwright" if VIEW_TAG in str(newest.get("tags")) else ""
            print(f"open {address}/#/experiments/{newest['experiment_id']}/{RUNS}{view}", flush=True)
            return
        time.sleep(0.2)
    if os.getppid() == server:
        print(f"no answer of MLflow at {address} in {ANSWER_SECONDS} s; it may still come", file=sys.stderr)


def execute(args: argparse.Namespace) -> int:
    """Check the store and the port, then become `mlflow server`."""
    from runwright.config.redaction import redact
    from runwright.tracker.mlflow.store import locate, require_store

    store = locate(args.uri, artifacts=None, output_dir=Path(args.output_dir).expanduser())
    if store.scheme in ("http", "https"):
        print(f"a server shows these runs already: {redact(store.uri)}")
        return 0
    require_store(store, timeout_seconds=10)
    try:
        with socket.create_server((HOST, args.port)) as listener:
            port = listener.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise TrackingError(
            f"--port {args.port}: given a port that cannot be had ({error}), expected a free one; without "
            "--port one is found"
        ) from error
    limit = f"{ANSWER_SECONDS} s at most (Ctrl-C ends it)"
    print(f"MLflow starts on {redact(store.uri)}; waiting for it, {limit}", flush=True)
    if not os.fork():  # this process becomes the server, and its child says when it answers
        with contextlib.suppress(KeyboardInterrupt):
            _say_when_it_answers(f"http://{HOST}:{port}", server=os.getppid())
        os._exit(0)
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--no-access-log"]
    if store.artifacts:
        command += ["--default-artifact-root", store.artifacts, "--artifacts-destination", store.artifacts]
    # The address goes by the environment: it may hold a password, and everybody sees command lines.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # no jobs are sent to this server
    }
    os.chdir(store.file.parent if store.file else ".")  # MLflow may write files beside where it starts
    return os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter and module
