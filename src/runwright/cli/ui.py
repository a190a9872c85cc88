"""`runwright ui`: MLflow's pages on the runs' store, for this machine only, until Ctrl-C."""

import argparse
import os
import socket
import sys
from pathlib import Path

from runwright.errors import TrackingError

HOST = "127.0.0.1"  # whoever reached the server could read and delete runs
# MLflow 3.17 begins with its pages for language models; `upload.VIEW_TAG` has a view of the main metrics.
RUNS = "runs?workflowType=machine_learning&viewStateShareKey=runwright"

EXAMPLES = """examples:
  runwright ui      the store of the runs in outputs/, on a free port
  runwright ui --port 5000
  runwright ui --uri sqlite:///elsewhere/mlflow.db

The server asks nobody for a password. From another machine:
ssh -L 5000:127.0.0.1:5000 THIS-MACHINE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", type=int, default=0, metavar="N", help="default: a free one")
    add(
        "--uri",
        metavar="ADDRESS",
        help="the store; default: MLFLOW_TRACKING_URI, else the one in --output-dir",
    )
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    """Check the store and the port, then become `mlflow server`."""
    from runwright.config.redaction import redact
    from runwright.runs.folder import find_runs
    from runwright.tracker.mlflow.store import client_settings, locate, probe, require_tables
    from runwright.tracker.mlflow.upload import read_state

    store = locate(args.uri, artifacts=None, output_dir=Path(args.output_dir).expanduser())
    if store.scheme in ("http", "https"):
        print(f"a server shows these runs already: {redact(store.uri)}")
        return 0
    if trouble := probe(store, timeout_seconds=10):
        raise TrackingError(f"MLflow at {redact(store.uri)}: {trouble}")
    with client_settings():
        require_tables(store)
    try:
        with socket.create_server((HOST, args.port)) as listener:
            port = listener.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise TrackingError(
            f"--port {args.port}: given a port that cannot be had ({error}), expected a free one; without "
            "--port one is found"
        ) from error
    # The newest experiment, as the folders of its runs know it.
    states = [read_state(folder).get(redact(store.uri)) for folder in find_runs(args.output_dir)]
    numbers = [state["experiment_id"] for state in states if state]
    page = f"experiments/{numbers[-1]}/{RUNS}" if numbers else "experiments"
    print(f"MLflow starts on {redact(store.uri)} and takes some seconds (Ctrl-C ends it)")
    print(f"open http://{HOST}:{port}/#/{page}", flush=True)
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
