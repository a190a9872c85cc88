"""Jobs of a multirun below one run in MLflow, and what an experiment tells MLflow's page to show."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from runwright.tracker.mlflow.store import client_settings
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
MakeTracker = Callable[..., MLflowTracker]
Query = Callable[[str], list[tuple[Any, ...]]]
SWEEP = """it's "mine" ü-0123abcd"""
TRAINER = {"best_metric": "f1", "best_mode": "max"}
PARENTS = "SELECT name, status, run_uuid FROM runs WHERE name LIKE '% sweep %'"
CHILDREN = "SELECT value FROM tags WHERE key = 'mlflow.parentRunId'"

pytestmark = pytest.mark.usefixtures("store_there")


def record(make_run: MakeRun, tracker: MLflowTracker, job: str, status: str = "FINISHED") -> RunInfo:
    run = replace(make_run(job), sweep=SWEEP, start_time=time.time())
    tracker.start(run)
    tracker.log_metrics({"validation/f1": 0.75}, step=1)
    tracker.log_metrics({"validation/f1": 0.5}, step=2)
    tracker.log_metrics({"best/validation/f1": 0.75}, step=1)
    tracker.finish(status)
    return run


def test_jobs_that_come_at_once_are_below_one_run(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(record, make_run, make_tracker(), f"job-{number}") for number in range(3)]
    assert all(job.exception() is None for job in jobs)
    ((name, status, parent),) = query(PARENTS)
    assert (name, status) == ('demo sweep it\'s "mine" ü', "FINISHED")
    assert query(CHILDREN) == [(parent,)] * 3
    ids = query("SELECT value FROM tags WHERE key = 'runwright.run_id' AND value LIKE 'job-%' ORDER BY value")
    assert ids == [("job-0",), ("job-1",), ("job-2",)]


@pytest.mark.parametrize(("mode", "best"), [("max", (0.5, 0.5, 0.75)), ("min", (0.5, 0.25, 0.25))])
def test_the_best_so_far_is_a_curve_of_the_run_above(
    mode: str, best: tuple[float, ...], make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    trainer = {**TRAINER, "best_mode": mode}
    for job, value in enumerate((0.5, 0.25, 0.75)):
        run = replace(make_run(f"job-{job}", trainer=trainer), sweep=SWEEP, start_time=time.time())
        tracker = make_tracker()
        tracker.start(run)
        tracker.log_metrics({"best/validation/f1": value}, step=1)
        tracker.finish("FINISHED")
    ((_, _, parent),) = query(PARENTS)
    curve = query(f"SELECT step, value FROM metrics WHERE run_uuid = '{parent}' ORDER BY step")
    assert curve == [*enumerate(best, 1)]


def test_the_run_above_has_the_status_of_its_jobs_together(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    def begin(job: str, value: float) -> MLflowTracker:
        going, run = make_tracker(), replace(make_run(job), sweep=SWEEP, start_time=time.time())
        going.start(run)
        going.log_metrics({"validation/f1": value}, step=1)
        until = time.monotonic() + 30
        while not query(f"SELECT value FROM metrics WHERE value = {value}"):  # seen while the run goes on
            assert time.monotonic() < until
            time.sleep(0.05)
        return going

    going = begin("job-0", 0.25)
    record(make_run, make_tracker(), "job-1", "KILLED")  # the multirun was killed and started again
    assert [status for _, status, _ in query(PARENTS)] == ["RUNNING"]
    going.finish("KILLED")
    assert [status for _, status, _ in query(PARENTS)] == ["KILLED"]
    record(make_run, make_tracker(), "job-2")
    assert [status for _, status, _ in query(PARENTS)] == ["FINISHED"]
    going = begin("job-3", 0.125)
    record(make_run, make_tracker(), "job-4", "FAILED")
    assert [status for _, status, _ in query(PARENTS)] == ["RUNNING"]
    going.finish("FINISHED")
    assert [status for _, status, _ in query(PARENTS)] == ["FAILED"]


def test_jobs_that_are_synced_later_are_below_it_too(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query, free_port: int
) -> None:
    with client_settings():
        pass  # MLflow is imported: the second that a run waits at its end is not for that
    closed = f"http://127.0.0.1:{free_port}"
    options = {"uri": closed, "start_timeout_seconds": 1.0, "finish_timeout_seconds": 1.0}
    runs = [record(make_run, make_tracker(**options), f"job-{number}") for number in range(2)]
    here = f"sqlite:///{runs[0].folder.parents[1] / 'mlflow.db'}"
    for run in runs:
        assert sync(run.folder, uri=here) > 0
        assert sync(run.folder, uri=here) == 0
    ((_, status, parent),) = query(PARENTS)
    assert status == "FINISHED"
    assert query(CHILDREN) == [(parent,)] * 2


def test_an_experiment_says_which_metric_matters_and_keeps_what_a_user_chose(
    make_run: MakeRun, make_tracker: MakeTracker, query: Query
) -> None:
    for number, metric in enumerate(("f1", "accuracy")):
        tracker = make_tracker()
        tracker.start(make_run(f"run-{number}", trainer={**TRAINER, "best_metric": metric}))
        tracker.log_metrics({"validation/f1": 0.5}, step=1)
        tracker.finish("FINISHED")
    tags = dict(query("SELECT key, value FROM experiment_tags"))
    assert tags["mlflow.experiment.primaryMetric.name"] == "validation/f1"
    view = json.loads(tags["mlflow.sharedViewState.runwright"])
    assert "metrics.`best/validation/f1`" in json.loads(view["state"])["selectedColumns"]
