"""Faults 9 and 18: the same run started twice, and many runs started in the same second."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from runwright.runs.folder import CONFIG_FILE, read_config

NUM_RUNS = 64


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_two_that_would_go_on_with_a_run_one_is_refused(make: Any, whole: Any) -> None:
    for place in range(10):
        killed = make(f"twice-{place}", num_steps=100)
        killed.kill_after(8, 0)
        both = [killed.start(), killed.start()]
        for process in both:
            process.join(240)
        assert sorted(process.exitcode for process in both) == [0, 1], killed.output()[-3000:]
        assert killed.output().count("is working on, expected one that has ended") == 1
        killed.check_same(whole(100))


@pytest.mark.slow
def test_one_that_is_at_work_is_refused_to_others(make: Any, whole: Any) -> None:
    killed = make("refused", num_steps=200)
    first = killed.start_and_wait(5)
    os.kill(first.pid, signal.SIGSTOP)  # it is not to end before the others have begun
    for _ in range(3):
        other = killed.start()
        other.join(60)
        assert other.exitcode == 1
    os.kill(first.pid, signal.SIGCONT)
    assert f"{killed.folder}: given a run that process {first.pid} on" in killed.output()
    first.join(240)
    assert first.exitcode == 0
    killed.check_same(whole(200))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_64_runs_started_together_are_64_runs(make: Any) -> None:
    runs = make("many", num_steps=2, more=("tracker=console",), without=("resume=", "tracker."))
    runs.finish()  # prepares the data that all others find
    processes = [runs.start(f"seed={seed}") for seed in range(1, NUM_RUNS)]  # as fast as the machine can
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0] * (NUM_RUNS - 1), runs.output()[-3000:]
    folders = runs.folders()
    records = [json.loads((folder / "run.json").read_text()) for folder in folders]
    assert len({record["run_id"] for record in records}) == NUM_RUNS
    assert {record["status"] for record in records} == {"FINISHED"}
    seeds = [read_config(folder / CONFIG_FILE)["seed"] for folder in folders]
    assert sorted(seeds) == list(range(NUM_RUNS))
    for record, seed in zip(records, seeds, strict=True):
        assert seed == 0 or f"seed={seed}" in record["overrides"]
