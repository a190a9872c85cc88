"""Groups of real processes for the promises: see processes/server.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("processes") / "server.py"
WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]


@dataclass
class Job:
    """A group of processes that was started."""

    folder: Path
    num_processes: int
    pids: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, *, seconds: float = 120.0) -> list[int]:
        """Exit codes when all have ended."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(self.codes), seconds), self.output()
        return self.codes

    def output(self) -> str:
        return "\n".join(
            f"--- {file.name}\n{file.read_text()}" for file in sorted(self.folder.glob("output-*.txt"))
        )

    def kill(self, number: int, *, ranks: list[int] | None = None) -> None:
        """Send a signal to all processes, or to those of some ranks."""
        for rank, pid in enumerate(self.pids):
            if ranks is None or rank in ranks:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue


class Processes:
    """Starts groups of processes from one that has imported everything."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._jobs: dict[int, Job] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, program: str, folder: Path, *, num_processes: int, **arguments: Any) -> Job:
        """Call a function of programs.py in a group of processes."""
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(folder, num_processes)
        number = len(self._jobs)
        self._jobs[number] = job
        request = {"job": number, "program": program, "num_processes": num_processes, "folder": str(folder)}
        assert self._server.stdin
        self._server.stdin.write(json.dumps({**request, "arguments": arguments}) + "\n")
        self._server.stdin.flush()
        with job.changed:
            assert job.changed.wait_for(lambda: bool(job.pids), 120), self._server.poll()
        return job

    def call(self, program: str, folder: Path, *, num_processes: int, **arguments: Any) -> None:
        """The same, to its end, which must be a good one."""
        job = self.start(program, folder, num_processes=num_processes, **arguments)
        assert job.wait() == [0] * num_processes, job.output()

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._reader.join()
        assert self._server.stdout
        self._server.stdout.close()

    def _read(self) -> None:
        assert self._server.stdout
        for line in self._server.stdout:
            message = json.loads(line)
            job = self._jobs[message["job"]]
            with job.changed:
                job.pids = message.get("pids", job.pids)
                job.codes = message.get("codes", job.codes)
                job.changed.notify_all()


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.close()
