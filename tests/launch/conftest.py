"""Groups of light but real worker processes under a real launcher process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

# Worker: does what its rank is told to.
WORKER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from runwright.errors import ConfigError
from runwright.trainer.environment import SIGNALS
from runwright.launch.worker import work

folder, rank = Path(sys.argv[1]), int(os.environ["RUNWRIGHT_WORKER"])

def stopped(number, frame):
    raise SystemExit(128 + number)

def wait_for_ever():
    while True:
        time.sleep(0.1)

def main():
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    exec(os.environ["WHAT_TO_DO"])

sys.exit(work(main))
"""

# Launcher: starts a group, watches it, says how it ended.
LAUNCHER = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from runwright.launch.worker import WorkerGroup
from runwright.launch import local as module
from runwright.launch.local import supervise
from runwright.trainer.environment import catch_signals

module.AFTER_FAILURE_SECONDS = 1.5  # these workers have nothing to close
folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
group = WorkerGroup(
    [sys.executable, "-P", str(folder / "worker.py"), str(folder)],
    num_processes=options["num_processes"], folder=folder, environment={"WHAT_TO_DO": options["what"]},
)
said, stops = [], []

def note(number, _):
    stops.append(number)
    (folder / f"signal-{len(stops)}").touch()

with catch_signals(note), group:
    outcome = supervise(group, stops, grace_seconds=options["grace"], say=said.append)
print(json.dumps({**asdict(outcome), "said": said}))
"""


@dataclass
class Launched:
    """A launcher that runs."""

    folder: Path
    process: subprocess.Popen[str]
    num_processes: int
    started: float

    def pids(self) -> list[int]:
        """Of the workers, when all have begun."""
        files = [self.folder / f"pid-{rank}" for rank in range(self.num_processes)]
        until = time.monotonic() + 30
        while not all(file.is_file() and file.read_text() for file in files):
            assert time.monotonic() < until, self.process.poll()
            time.sleep(0.01)
        return [int(file.read_text()) for file in files]

    def interrupt(self, times: int) -> None:
        """Send SIGINT, and again when the one before it was taken: of two that wait, one is lost."""
        for number in range(1, times + 1):
            self.process.send_signal(signal.SIGINT)
            while not (self.folder / f"signal-{number}").exists() and self.process.poll() is None:
                time.sleep(0.01)

    def outcome(self) -> dict[str, Any]:
        """How it ended; no worker may be left."""
        output, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        assert not any(map(is_alive, self.pids()))
        return {**json.loads(output.splitlines()[-1]), "errors": errors, "output": output}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    launched: list[Launched] = []

    def start(what: str, *, num_processes: int = 2, grace: float = 30.0) -> Launched:
        (tmp_path / "worker.py").write_text(WORKER)
        options = {"what": what, "num_processes": num_processes, "grace": grace}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", LAUNCHER, str(tmp_path), json.dumps(options)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        launched.append(Launched(tmp_path, process, num_processes, time.monotonic()))
        return launched[-1]

    yield start
    for each in launched:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process is gone, after at most five seconds."""

    def gone(pid: int) -> bool:
        until = time.monotonic() + 5
        while is_alive(pid) and time.monotonic() < until:
            time.sleep(0.02)
        return not is_alive(pid)

    return gone
