"""The cost of 20 metrics of every step in an MLflow store: our tracker and plain mlflow.log_metrics.

Whole loops in turn: without a tracker, and for a sqlite store and a local `mlflow server` (one worker) each
tracked by us and by the plain call. What a step pays is seen from three sides, because whole loops differ by
more than what is measured: the time in calls of the tracker, the processor time of the thread that uploads,
which shares cores and interpreter with the step, and the whole loop with against without. Processor time of
the server is told apart: here it is on the same machine. Our options are those of conf/tracker/mlflow.yaml.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.setting import Setting, run_loop

NAMES = [f"train/figure_{number}" for number in range(20)]
CONNECT_SECONDS = 120.0


@dataclass(kw_only=True, slots=True)
class Cost:
    """What one loop took."""

    loop_seconds: float = 0.0
    call_seconds: list[float] = field(default_factory=list)  # of each step
    uploader_seconds: float = 0.0  # of the processor
    server_seconds: float = 0.0  # of the processor, all its processes
    finish_seconds: float = 0.0  # after the last step, until all is in the store
    num_points: int = 0  # in the store, after that


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way of tracking a loop, with what it took in each repeat."""

    measure: Callable[[], Cost]
    costs: list[Cost] = field(default_factory=list)


def measure_tracking(setting: Setting, *, repeats: int) -> dict[str, list[float]]:
    """Figures of all ways, in turn; one warm-up each. Raises RuntimeError where a figure did not arrive."""
    from runwright.config.addresses import to_address
    from runwright.tracker.mlflow.store import client_settings, locate, prepare

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        local, behind = (
            locate(to_address(folder / f"{name}.db", "sqlite"), artifacts=None, output_dir=folder)
            for name in ("local", "served")
        )
        with client_settings():
            for store in (local, behind):
                prepare(store, timeout_seconds=60)
        with client_settings(), serve(behind.uri) as (server, address):
            stores = {"sqlite": local.uri, "server": address}
            ways = {"without": Way(measure=partial(track_nothing, setting))}
            for store, uri in stores.items():
                ways[f"{store} ours"] = Way(measure=partial(track_ours, setting, uri, server=server.pid))
                ways[f"{store} plain"] = Way(measure=partial(track_plain, setting, uri, server=server.pid))
            for _ in range(repeats + 1):
                for way in ways.values():
                    way.costs.append(way.measure())
        return figures(ways, steps=setting.steps)


@contextmanager
def serve(uri: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`runwright ui` on a store, answering, with its address; it ends with the block."""
    from runwright.tracker.mlflow.store import Store, probe

    command = [sys.executable, "-m", "runwright", "ui", "--uri", uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            (address,) = re.findall(
                r"open (http://[^/]+)", process.stdout.readline() + process.stdout.readline()
            )
            until = time.monotonic() + CONNECT_SECONDS
            while probe(Store(uri=address, artifacts=None), timeout_seconds=2):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the server at {address} does not answer")
                time.sleep(0.2)
            yield process, address
        finally:
            process.terminate()


def track_nothing(setting: Setting) -> Cost:
    """The loop with a tracker that takes everything and keeps nothing."""
    from runwright.tracker.console import JournalTracker

    return Cost(loop_seconds=run_loop(setting, tracker=JournalTracker(system_every_seconds=None))[0])


def track_ours(setting: Setting, uri: str, *, server: int) -> Cost:
    """The loop with our tracker, from when the store knows the run: starting is not what a step costs."""
    from runwright.tracker.mlflow.tracker import MLflowTracker
    from runwright.tracker.mlflow.upload import read_state
    from runwright.types import RunInfo

    options: dict[str, Any] = {**setting.config["tracker"], "uri": uri, "policy": "fail"}
    del options["_target_"]
    tracker, cost = MLflowTracker(**options), Cost()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "benchmark" / "run"
        folder.mkdir(parents=True)
        config = {"output_dir": name}
        tracker.start(RunInfo(run_id=name, name="benchmark", folder=folder, config=config, overrides=()))
        until = time.monotonic() + CONNECT_SECONDS
        while not read_state(folder).get(uri, {}).get("offset"):
            if time.monotonic() > until:
                raise RuntimeError(f"{uri} does not take the run")
            time.sleep(0.1)
        (thread,) = (each for each in threading.enumerate() if each.name == "runwright-mlflow")
        clock = time.pthread_getcpuclockid(thread.ident or 0)
        before, of_server = time.clock_gettime(clock), processor_seconds(server)
        cost.loop_seconds, _ = run_loop(setting, tracker=tracker, on_step=timed(tracker.log_metrics, cost))
        cost.uploader_seconds = time.clock_gettime(clock) - before
        cost.server_seconds = processor_seconds(server) - of_server
        began = time.perf_counter()
        tracker.finish("FINISHED")
        cost.finish_seconds = time.perf_counter() - began
        cost.num_points = count_points(uri, read_state(folder)[uri]["mlflow_run_id"])
    return cost


def track_plain(setting: Setting, uri: str, *, server: int) -> Cost:
    """The loop as a plain user of MLflow writes it: one synchronous call in each step."""
    import mlflow

    from runwright.tracker.console import JournalTracker

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("plain")
    cost = Cost()
    with mlflow.start_run() as run:
        on_step, before = timed(mlflow.log_metrics, cost), processor_seconds(server)
        cost.loop_seconds, _ = run_loop(
            setting, tracker=JournalTracker(system_every_seconds=None), on_step=on_step
        )
        cost.server_seconds = processor_seconds(server) - before
    cost.num_points = count_points(uri, run.info.run_id)
    return cost


def timed(log_metrics: Callable[..., Any], cost: Cost) -> Callable[[int], None]:
    """A function for each step that logs all names and keeps how long that took."""

    def log(step: int) -> None:
        values = {name: step + place / 7 for place, name in enumerate(NAMES)}
        began = time.perf_counter()
        log_metrics(values, step=step)
        cost.call_seconds.append(time.perf_counter() - began)

    return log


def count_points(uri: str, mlflow_run_id: str) -> int:
    """How many values of our names the store has."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return sum(len(client.get_metric_history(mlflow_run_id, name)) for name in NAMES)


def processor_seconds(pid: int) -> float:
    """Processor time so far of a process and those that it started."""
    whole = psutil.Process(pid)
    times = [process.cpu_times() for process in (whole, *whole.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def figures(ways: dict[str, Way], *, steps: int) -> dict[str, list[float]]:
    """The table: medians of calls, and shares of the step without tracking of the same repeat."""
    without = [cost.loop_seconds for cost in ways["without"].costs[1:]]
    found: dict[str, list[float]] = {"without, step": [seconds / steps for seconds in without]}
    for name, way in ways.items():
        if name == "without":
            continue
        costs = way.costs[1:]
        if any(cost.num_points != steps * len(NAMES) for cost in costs):
            arrived = [cost.num_points for cost in costs]
            raise RuntimeError(f"{name}: the store has {arrived} values, expected {steps * len(NAMES)}")
        pairs = list(zip(costs, without, strict=True))
        found[f"{name}, one call"] = [statistics.median(cost.call_seconds) for cost in costs]
        found[f"{name}, longest call"] = [max(cost.call_seconds) for cost in costs]
        found[f"{name}, calls share"] = [sum(cost.call_seconds) / base for cost, base in pairs]
        if name.endswith("ours"):
            # It works by the clock, so its share is one of its own loop.
            found[f"{name}, uploader share"] = [cost.uploader_seconds / cost.loop_seconds for cost in costs]
            found[f"{name}, finish"] = [cost.finish_seconds for cost in costs]
        found[f"{name}, loop ratio"] = [cost.loop_seconds / base for cost, base in pairs]
        if name.startswith("server"):
            found[f"{name}, server share"] = [cost.server_seconds / cost.loop_seconds for cost in costs]
        found[f"{name}, values stored"] = [float(cost.num_points) for cost in costs]
    for store in ("sqlite", "server"):
        calls = zip(found[f"{store} ours, one call"], found[f"{store} plain, one call"], strict=True)
        found[f"{store}, call ours to plain ratio"] = [ours / plain for ours, plain in calls]
    return found
