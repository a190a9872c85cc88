"""Runs shared between workers by `runwright train`, or by torchrun: one dies, hangs or is stopped."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

Run = Callable[..., Any]

# Starts two processes with the variables that srun sets in the tasks of a step.
SRUN = """
import os, subprocess, sys
step = {"JOB_ID": os.getpid(), "STEP_ID": 0, "NTASKS": 2, "STEP_NUM_TASKS": 2, "STEP_TASKS_PER_NODE": 2}
step |= {"STEP_NODELIST": "node7", "NODEID": 0}
tasks = []
for rank in range(2):
    named = {f"SLURM_{name}": str(value) for name, value in {**step, "PROCID": rank, "LOCALID": rank}.items()}
    environment = {**os.environ, **named, "PMI_SIZE": "2"}
    tasks.append(subprocess.Popen([sys.executable, *sys.argv[1:]], env=environment))
sys.exit(max(task.wait() for task in tasks))
"""

pytestmark = pytest.mark.timeout(900)  # imports of torch in several new processes, on a busy machine


class Launched:
    """`runwright train` on a run folder, as a process."""

    def __init__(self, run: Any, *overrides: str) -> None:
        self.run = run
        self.log = (run.folder / "terminal.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runwright", "train", "--resume", str(run.folder), *overrides],
            stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def codes(self) -> list[int]:
        return [] if self.process.poll() is None else [self.process.returncode]

    def output(self) -> str:
        return (self.run.folder / "terminal.txt").read_text()

    def workers(self) -> list[psutil.Process]:
        """By rank."""
        found = psutil.Process(self.process.pid).children()
        workers = [process for process in found if "runwright.launch.worker" in process.cmdline()]
        return sorted(workers, key=lambda process: int(process.environ()["RANK"]))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def launch(new_run: Run) -> Iterator[Run]:
    launched: list[Launched] = []

    def start(*overrides: str, run: Any = None) -> Launched:
        launched.append(Launched(run or new_run(), *overrides))
        return launched[-1]

    yield start
    for each in launched:
        each.close()


def test_a_killed_worker_is_restarted_and_the_run_ends_bit_for_bit(launch: Run, whole_run: Run) -> None:
    launched = launch("launch.num_processes=2", "launch.max_restarts=1")
    launched.run.wait_for_step(20, launched)
    workers = launched.workers()
    workers[1].kill()
    assert launched.process.wait(timeout=200) == 0, launched.output()
    expected, found = whole_run(2), launched.run
    assert found.weights() == expected.weights()
    assert found.training() == expected.training()
    assert found.metrics() == expected.metrics()
    assert found.status() == "FINISHED"
    output = launched.output()
    assert re.search(r"rank 1 of 2 \(process \d+\) was killed by SIGKILL", output)
    assert "restart 1 of 1, from the newest checkpoint" in output
    assert "Connection closed" not in output  # what rank 0 saw of it
    assert not (found.folder / "workers").exists()
    assert len((found.folder / "resumes.jsonl").read_text().splitlines()) == 2  # --resume and the restart


@pytest.mark.slow
def test_without_restarts_a_killed_worker_ends_the_run_in_a_true_state(launch: Run) -> None:
    launched = launch("launch.num_processes=3")
    launched.run.wait_for_step(5, launched)
    workers = launched.workers()
    workers[2].kill()
    assert launched.process.wait(timeout=60) == 137, launched.output()
    assert not any(worker.is_running() for worker in workers)
    record = json.loads((launched.run.folder / "run.json").read_text())
    assert record["status"] == "FAILED"
    assert "rank 2 of 3" in record["error"]
    assert [r["status"] for r in launched.run.records() if "status" in r][-1] == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize(("num_processes", "hung"), [(2, 0), (2, 1), (4, 2)])
def test_a_hung_worker_ends_the_run_with_the_stacks_of_all(
    launch: Run, num_processes: int, hung: int
) -> None:
    launched = launch(f"launch.num_processes={num_processes}", "launch.timeout_seconds=8")
    launched.run.wait_for_step(5, launched)
    began = time.monotonic()
    launched.workers()[hung].suspend()
    assert launched.process.wait(timeout=60) == 1, launched.output()
    assert time.monotonic() - began < 8 + 10
    output = launched.output()
    assert "waited for one another for longer than launch.timeout_seconds" in output
    for rank in range(num_processes):
        assert f"--- rank {rank}" in output
    assert output.count("execute.py") >= num_processes  # each stack leads through the run


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_launcher_saves_and_nothing_is_lost(launch: Run, whole_run: Run, number: int) -> None:
    launched = launch("launch.num_processes=2")
    launched.run.wait_for_step(12, launched)
    began = time.monotonic()
    launched.process.send_signal(number)
    assert launched.process.wait(timeout=60) == 128 + number, launched.output()
    assert time.monotonic() - began < 30
    assert launched.run.status() == "KILLED"
    assert launched.run.training()["step"] == launched.run.last_step()
    again = launch(run=launched.run)
    assert again.process.wait(timeout=200) == 0, again.output()
    assert again.run.metrics() == whole_run(2).metrics()
    assert again.run.weights() == whole_run(2).weights()


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_run_whose_terminal_is_closed_while_it_draws_bars_is_saved(
    new_run: Run, num_processes: int
) -> None:
    run, launch = new_run(), f"launch.num_processes={num_processes}"
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "runwright", "train", "--resume", str(run.folder), launch],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    until = time.monotonic() + 120
    while run.last_step() < 5:
        os.read(controller, 10_000)  # or the program would wait for room
        assert time.monotonic() < until
    os.close(controller)
    assert process.wait(timeout=60) == 129
    assert run.status() == "KILLED"
    assert run.training()["step"] == run.last_step() >= 5


@pytest.mark.slow
def test_workers_do_not_outlive_a_launcher_that_is_killed(launch: Run, whole_run: Run) -> None:
    launched = launch("launch.num_processes=2")
    launched.run.wait_for_step(12, launched)
    workers = launched.workers()
    launched.process.kill()
    launched.process.wait()
    assert not psutil.wait_procs(workers, timeout=10)[1]
    again = launch(run=launched.run)
    assert again.process.wait(timeout=200) == 0, again.output()
    assert again.run.metrics() == whole_run(2).metrics()


@pytest.mark.slow
def test_a_workers_own_mistake_is_shown_once_without_a_restart(launch: Run) -> None:
    launched = launch("launch.num_processes=2", "launch.max_restarts=3")
    path = Path(launched.run.folder / "config.yaml").read_text()
    assert launched.process.poll() is None
    train = re.search(r"\S+train\.csv", path)
    assert train
    hidden = Path(train[0]).rename(Path(train[0]).with_name("elsewhere"))  # no name to be hinted at
    try:
        assert launched.process.wait(timeout=100) == 3, launched.output()
    finally:
        hidden.rename(train[0])
    assert launched.output().count("train.csv") == 1
    assert "restart" not in launched.output()


@pytest.mark.slow
def test_other_launchers_make_one_run_that_is_the_same(
    experiment: list[str], whole_run: Run, tmp_path: Path
) -> None:
    scripts = Path(sys.executable).parent
    config = tmp_path / "accelerate.yaml"
    config.write_text("distributed_type: MULTI_GPU\nuse_cpu: true\nnum_processes: 2\n")
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    for name, command in {
        # --standalone takes a free port; with --master_port 0 the workers are told port 0, and wait for ever
        "torchrun": ["torchrun", "--standalone", "--nproc_per_node", "2"],
        "accelerate": ["accelerate", "launch", "--config_file", str(config), "--main_process_port", "0"],
        "srun": ["python", "-c", SRUN],
    }.items():
        arguments = [*experiment, f"output_dir={tmp_path}/{name}", "launch.num_processes=2"]
        done = subprocess.run(
            [str(scripts / command[0]), *command[1:], "-m", "runwright", "train", *arguments],
            capture_output=True, text=True, env=environment, timeout=250,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        folders = list((tmp_path / name / "default").iterdir())
        assert len(folders) == 1
        run = type(whole_run(2))(folders[0])
        assert run.weights() == whole_run(2).weights()
        assert run.metrics() == whole_run(2).metrics()


@pytest.mark.slow
def test_a_launcher_that_silently_starts_one_process_is_found_out(
    experiment: list[str], tmp_path: Path, repository: Path
) -> None:
    command = [str(Path(sys.executable).parent / "accelerate"), "launch", "--cpu", "--num_processes", "2"]
    arguments = [*experiment, f"output_dir={tmp_path}", "launch.num_processes=2"]
    done = subprocess.run(
        [*command, str(repository / "scripts" / "train.py"), *arguments],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode != 0
    assert "launch.num_processes: given 2, but the launcher started 1" in done.stderr
