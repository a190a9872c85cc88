"""Promise 2, fault 1: a run that is killed at any instant and started again is the same run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest


def kill_often(killed: Any, plan: list[str], *, operations: int, chance: random.Random) -> None:
    """Start a run as often as the plan has kills, and once more."""
    for place, kind in enumerate(plan):
        left = len(plan) - place
        done = killed.last_step()
        step = done + 1 + chance.randrange(max(1, (killed.num_steps - done) // left))
        if kind == "start":
            killed.kill_after(0, chance.uniform(0, 1.0))
        elif kind == "save":
            share = operations * (killed.num_steps - done) // killed.num_steps
            killed.kill_in_save(chance.randrange(max(1, share // left)))
        elif kind == "end":
            killed.kill_after(killed.num_steps, chance.uniform(0, 0.5))
        else:
            killed.kill_after(step, chance.uniform(0, 0.02))
    killed.finish()


def test_a_run_that_was_killed_four_times_is_the_same_run(make: Any, whole: Any) -> None:
    killed, plan = make("killed", num_steps=28), ["start", "step", "save", "end"]
    kill_often(killed, plan, operations=whole(28).num_operations(), chance=random.Random(0))
    assert len(killed.kills) == 4, killed.kills
    killed.check_same(whole(28))
    process = killed.start()  # it is over: the same command now begins a new run
    while len(killed.folders()) < 2:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()


@pytest.mark.slow
def test_a_run_that_was_killed_when_it_had_finished_is_settled_by_the_same_command(
    make: Any, whole: Any
) -> None:
    upload = "tracker.upload_every_seconds"  # all of it when the run has finished
    killed = make("ended", num_steps=28, more=(f"{upload}=60",), without=(upload,))
    process = killed.start()
    while not killed.folders() or killed.status() != "FINISHED":
        assert process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    killed.finish()
    assert "nothing is left to do" in killed.output()
    killed.check_same(whole(28))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_50_kills_of_which_20_are_in_the_midst_of_a_save(make: Any, whole: Any) -> None:
    plans = [["start", "step", "save", "step", "save"], ["step", "save", "step", "save", "end"]] * 5
    num_kills = 0
    for seed, plan in enumerate(plans):
        chance = random.Random(seed)
        killed = make(f"killed-{seed}", num_steps=200)
        plan = chance.sample(plan[:-1], k=4) + plan[-1:]
        kill_often(killed, plan, operations=whole(200).num_operations(), chance=chance)
        killed.check_same(whole(200))
        num_kills += len(killed.kills)
    assert num_kills == 50


@pytest.mark.slow
def test_the_command_of_a_user_goes_on_and_then_begins_anew(make: Any, whole: Any) -> None:
    """As the others, but with an interpreter of its own for each start."""
    killed = make("typed", num_steps=28)
    command = [sys.executable, "-P", "-m", "runwright", *killed.arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while killed.last_step() < 20:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    folder = killed.folder
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"resuming {folder}" in again.stderr
    killed.check_same(whole(28))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "resuming" not in done.stderr
    assert len(killed.folders()) == 2
