"""`runwright ui`: MLflow's pages on the runs' store, for this machine only, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

ANSWER_SECONDS = 60  # importing MLflow and its pages takes 5 to 20 s

EXAMPLES = """examples:
  runwright ui      the store of the runs in outputs/, on a free port
  runwright ui --port 5000
  runwright ui --uri sqlite:///elsewhere/mlflow.db

The server asks nobody for a password. It listens on 127.0.0.1 unless --host
says otherwise; from another
machine: ssh -L 5000:127.0.0.1:5000 THIS-MACHINE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, metavar="N", help="default: a free one")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--uri", help="the store; default: MLFLOW_TRACKING_URI, else the one in --output-dir")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of the server; default: 1")


def _say_when_it_answers(address: str, *, server: int) -> None:
    """Print where the newest runs are shown, once the server answers."""
    import json
    import time
    import urllib.request

    from runwright.tracker.mlflow.upload import VIEW, VIEW_TAG

    def ask(what: str, **query: object) -> list[dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310 - our own http address
            f"{address}/api/2.0/mlflow/{what}/search",
            json.dumps(query).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer).get(what, [])

    until = time.monotonic() + ANSWER_SECONDS
    while os.getppid() == server and time.monotonic() < until:
        try:
            experiments = {each["experiment_id"]: each for each in ask("experiments", max_results=1000)}
            runs = ask("runs", experiment_ids=list(experiments), max_results=1)  # the newest one
        except (OSError, ValueError):
            time.sleep(0.2)
            continue
        page = ""
        if runs:
            number = runs[0]["info"]["experiment_id"]
            tags = [tag["key"] for tag in experiments[number].get("tags", [])]
            view = f"&viewStateShareKey={VIEW}" if f"{VIEW_TAG}{VIEW}" in tags else ""
            page = f"/#/experiments/{number}/runs?workflowType=machine_learning{view}"
        print(f"open {address}{page}", flush=True)
        return
    if os.getppid() == server:
        print(f"MLflow has not answered in {ANSWER_SECONDS} s; it may still come: {address}", file=sys.stderr)


def execute(args: argparse.Namespace) -> int:
    """Check the store and the port, then become `mlflow server`."""
    import socket
    from pathlib import Path

    from runwright.config.redaction import redact
    from runwright.errors import TrackingError
    from runwright.tracker.mlflow.store import locate, require_store

    store = locate(args.uri, artifacts=None, output_dir=Path(args.output_dir).expanduser())
    if store.scheme in ("http", "https"):
        print(f"a server shows these runs already: {redact(store.uri)}")
        return 0
    require_store(store, timeout_seconds=10)
    try:
        with socket.create_server((args.host, args.port)) as listener:
            port = listener.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise TrackingError(
            f"--port {args.port}: given a port that cannot be had on {args.host} ({error}), expected a free "
            "one; without --port one is found"
        ) from error
    if args.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"warning: whoever reaches {args.host} can read and delete these runs", file=sys.stderr)
    address = f"http://{args.host}:{port}"
    limit = f"{ANSWER_SECONDS} s at most"
    print(f"MLflow starts on {redact(store.uri)}; waiting for it, {limit} (Ctrl-C ends it)", flush=True)
    if not os.fork():  # this process becomes the server, and its child says when it answers
        with contextlib.suppress(KeyboardInterrupt):
            _say_when_it_answers(address, server=os.getppid())
        os._exit(0)
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", args.host, "--port", str(port)]
    command += ["--workers", str(args.workers), "--uvicorn-opts", "--no-access-log"]
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
