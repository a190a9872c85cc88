"""Throughput and latency of `runwright serve` beside other servers of the same model, by locust, in one run.

    python scripts/load_serve.py RUN
    python scripts/load_serve.py RUN --also int8=EXPORT --mlflow FOLDER --repeats 3 --seconds 10

RUN classifies single texts; the texts sent are those of its predictions, one in a request. The servers, each
alone on the machine while it is measured, with one worker:

runwright   `runwright serve RUN`, and of each NAME=MODEL of --also
plain       FastAPI: an `async def` handler around transformers' pipeline, under a lock, torch on all cores
mlflow      `mlflow models serve` on a logged model (the folder with its file MLmodel), with --mlflow

Rounds go over all servers in turn; figures are medians of the rounds. Clients send the next request when they
have their answer, from a process on the same cores. Labels of both servers are compared first.
"""

# ruff: noqa: E402 - gevent replaces parts of Python before anything imports them
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# locust is no dependency: pip install locust
from gevent import monkey

monkey.patch_all()

import argparse
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, task
from locust.env import Environment

from runwright.runs.folder import CONFIG_FILE, read_config

CLIENTS = (1, 8, 64)
WARM = 2.0  # seconds before a measurement


def serve_plain(model: str, port: int) -> None:
    """A handler as one writes it first."""
    import asyncio

    import torch
    import transformers
    import uvicorn
    from fastapi import FastAPI, Request

    torch.set_num_threads(os.cpu_count() or 1)
    pipeline: Any = transformers.pipeline("text-classification", model=model)
    app, lock = FastAPI(), asyncio.Lock()

    @app.post("/predict")
    async def predict(request: Request) -> Any:
        text = await request.json()
        async with lock:
            return pipeline(text)

    uvicorn.run(app, port=port, log_level="warning")


@contextmanager
def server(command: Sequence[str], port: int) -> Iterator[None]:
    """A server that has begun to answer, ended when the context ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert process.poll() is None, f"{command} ended"
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def load(port: int, path: str, bodies: Sequence[str], clients: int, seconds: float) -> dict[str, float]:
    """Requests a second, and the latency in milliseconds that half and 99 % of them do not exceed."""
    sent = itertools.cycle(bodies)

    class Client(FastHttpUser):
        wait_time = constant(0)
        host = f"http://127.0.0.1:{port}"

        @task
        def predict(self) -> None:
            self.client.post(path, data=next(sent), headers={"Content-Type": "application/json"})

    environment = Environment(user_classes=[Client])
    runner = environment.create_local_runner()
    runner.start(clients, spawn_rate=clients)
    gevent.sleep(WARM)
    environment.stats.reset_all()
    began = time.perf_counter()
    gevent.sleep(seconds)
    total, passed = environment.stats.total, time.perf_counter() - began
    result = {"requests/s": total.num_requests / passed, "failed": float(total.num_failures)}
    result |= {
        f"p{percent}": float(total.get_response_time_percentile(percent / 100)) for percent in (50, 99)
    }
    runner.quit()
    return result


def labels(port: int, texts: Sequence[str]) -> list[str]:
    """The label of each text, as a server says it."""
    found = []
    for text in texts:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", json.dumps(text).encode())
        answer = json.load(urllib.request.urlopen(request))  # noqa: S310 - our own address
        found.append(answer["predicted"] if isinstance(answer, dict) else answer[0]["label"])
    return found


def main() -> None:
    """Measure and print a table."""
    if sys.argv[1] == "--plain":
        serve_plain(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--also", metavar="NAME=MODEL", action="append", default=[])
    parser.add_argument("--mlflow", metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=6.0)
    args = parser.parse_args()
    rows = next(iter(sorted(args.run.glob("predictions/*.jsonl")))).read_text(encoding="utf-8").splitlines()
    column = read_config(args.run / CONFIG_FILE)["task"]["text_column"]
    texts = [json.loads(row)[column] for row in rows[:2000]]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours = {"runwright": str(args.run), **dict(one.split("=", 1) for one in args.also)}
    command = [sys.executable, "-m", "runwright", "serve", "--port", str(port)]
    commands = {name: [*command, model] for name, model in ours.items()}
    commands["plain"] = [sys.executable, __file__, "--plain", str(args.run / "best"), str(port)]
    if args.mlflow:
        options = ["--env-manager", "local", "--port", str(port), "--model-uri", args.mlflow]
        commands["mlflow"] = [sys.executable, "-m", "mlflow", "models", "serve", *options]
    bodies = [json.dumps(text) for text in texts]
    wrapped = [json.dumps({"inputs": [text]}) for text in texts]
    measured: dict[tuple[str, int], list[dict[str, float]]] = {}
    said: dict[str, list[str]] = {}
    for _ in range(args.repeats):
        for name, words in commands.items():
            with server(words, port):
                if name != "mlflow":
                    said[name] = said.get(name) or labels(port, texts[:200])
                path, sent = ("/invocations", wrapped) if name == "mlflow" else ("/predict", bodies)
                for clients in CLIENTS:
                    result = load(port, path, sent, clients, args.seconds)
                    measured.setdefault((name, clients), []).append(result)
                    print(name, clients, result, file=sys.stderr, flush=True)
    print(f"{len(texts):,} texts of {statistics.mean(map(len, texts)):.0f} characters")
    for name in ours:
        agreeing = sum(map(str.__eq__, said[name], said["plain"]))
        print(f"{name} says the label that plain says of {agreeing} of {len(said[name])} texts")
    print("| server | clients | requests/s | of plain | p50 ms | p99 ms | failed |")
    print("|---|---|---|---|---|---|---|")
    for (name, clients), results in measured.items():
        median = {key: statistics.median(result[key] for result in results) for key in results[0]}
        plain = statistics.median(result["requests/s"] for result in measured["plain", clients])
        ratio = median["requests/s"] / plain
        times = f"{median['p50']:.0f} | {median['p99']:.0f} | {median['failed']:.0f}"
        print(f"| {name} | {clients} | {median['requests/s']:.0f} | {ratio:.2f} × | {times} |")


if __name__ == "__main__":
    main()
