"""Promises 2 and 3 on whole runs of real processes: killed, stopped and resumed, also on another number."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


def assert_same(one: Any, other: Any) -> None:
    """Two runs ended alike to the last bit, and each metric step was recorded exactly once."""
    assert other.weights() == one.weights()
    assert other.training() == one.training()
    assert other.metrics() == one.metrics()
    assert not [record for record in other.records() if "conflict" in record]
    assert other.status() == "FINISHED"


def kill(
    processes: Any,
    run: Any,
    *,
    num_processes: int,
    at: int,
    ranks: list[int] | None = None,
    dtype: str = "float32",
) -> None:
    """SIGKILL to all, or some ranks, of a run when it has recorded a step."""
    job = processes.start("execute_run", run.folder, num_processes=num_processes, dtype=dtype)
    run.wait_for_step(at, job)
    job.kill(signal.SIGKILL, ranks=ranks)
    assert -signal.SIGKILL in job.wait()
    assert 0 not in job.codes, job.output()
    assert run.last_step() < 60


@pytest.mark.parametrize(
    "num_processes", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in (2, 3, 4))]
)
def test_a_killed_run_resumes_bit_for_bit(
    processes: Any, whole_run: Run, new_run: Run, num_processes: int
) -> None:
    run = new_run()
    kill(processes, run, num_processes=num_processes, at=17)
    processes.call("execute_run", run.folder, num_processes=num_processes)
    assert_same(whole_run(num_processes), run)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("num_processes", [1, 2, 3, 4])
def test_many_kills_at_random_steps_resume_bit_for_bit(
    processes: Any, whole_run: Run, new_run: Run, num_processes: int
) -> None:
    chance = random.Random(num_processes)
    for _ in range(5):
        run = new_run()
        for at in sorted(chance.sample(range(1, 50), k=3)):
            ranks = chance.choice([None, [chance.randrange(num_processes)]])
            kill(processes, run, num_processes=num_processes, at=at, ranks=ranks)
        processes.call("execute_run", run.folder, num_processes=num_processes)
        assert_same(whole_run(num_processes), run)


def test_a_run_that_meets_every_end_in_turn_is_the_run_that_met_none(
    processes: Any, whole_run: Run, new_run: Run
) -> None:
    run = new_run()
    for number, ranks in ((signal.SIGTERM, None), (signal.SIGINT, [1]), (signal.SIGUSR1, [0])):
        job = processes.start("execute_run", run.folder, num_processes=3)
        run.wait_for_step(run.last_step() + 4, job)
        job.kill(number, ranks=ranks)
        assert job.wait(seconds=60) == [128 + number] * 3, job.output()
        assert run.status() == "KILLED"
        assert run.training()["step"] == run.last_step() < 60  # all after the same step, and none is lost
    kill(processes, run, num_processes=3, at=run.last_step() + 4, ranks=[1])
    assert run.status() == "FAILED"  # rank 0 lived to write it
    kill(processes, run, num_processes=3, at=run.last_step() + 4)
    processes.call("execute_run", run.folder, num_processes=3)
    assert_same(whole_run(3), run)


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        ((1, 2, 1), "float32"),
        *(
            pytest.param(numbers, dtype, marks=pytest.mark.slow)
            for numbers in ((1, 2, 1), (2, 4, 3), (3, 1, 2))
            for dtype in TOLERANCES
            if (numbers, dtype) != ((1, 2, 1), "float32")
        ),
    ],
)
def test_a_run_goes_on_with_another_number_of_processes(
    numbers: tuple[int, int, int], dtype: str, processes: Any, whole_run: Run, new_run: Run
) -> None:
    run, whole = new_run(), whole_run(1, dtype=dtype)
    first, second, third = numbers
    kill(processes, run, num_processes=first, at=14, dtype=dtype)
    kill(processes, run, num_processes=second, at=33, dtype=dtype)
    processes.call("execute_run", run.folder, num_processes=third, dtype=dtype)
    found, expected = run.metrics(), whole.metrics()
    assert run.training()["ledger"] == whole.training()["ledger"]
    for name, count in (("train/loss", 60), ("validation/loss", 4)):
        assert len(expected[name]) == count
        assert [step for step, _ in found[name]] == [step for step, _ in expected[name]]
        values = [float.fromhex(value) for _, value in expected[name]]
        assert [float.fromhex(value) for _, value in found[name]] == pytest.approx(
            values, rel=TOLERANCES[dtype], abs=0
        )
    log = (run.folder / "log.txt").read_text()
    assert f"not bit for bit: num_processes {first} → {second}" in log
    assert f"not bit for bit: num_processes {second} → {third}" in log
