"""The processes of one attempt at a run: each in a process group of its own, none of which outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from runwright.launch.reports import Ended, error_file, log_file, read_report, stacks_file
from runwright.trainer.environment import BEATS_VARIABLE, STORE_VARIABLE, WORKER_VARIABLE

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
DUMP_SIGNAL = signal.SIGUSR2  # a worker then writes down the stacks of its threads
LOOPBACK = "127.0.0.1"
# Reads the process groups of the workers and, when the launcher is gone (its end of the pipe is closed),
# ends them: what workers started would otherwise outlive a launcher that was killed.
GUARD = 'groups=""; while read -r group; do groups="$groups -$group"; done; kill -s KILL -- $groups'


@dataclass(kw_only=True, slots=True)
class Worker:
    """One process."""

    rank: int
    process: subprocess.Popen[bytes]
    beats: int | None  # the reading end of a pipe; a byte is a sign of life, None: closed by the worker
    heard: float  # time.monotonic() of the last one
    ended: float | None = None  # time.time()
    hung: bool = False
    was_killed: bool = False


class WorkerGroup:
    """Starts the workers when entered; when left, all of them and what they started are gone.

    `command` is run once for each rank; `folder` is for their reports. Signals that ask for a stop wait,
    blocked, until a worker can handle them.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        num_processes: int,
        folder: Path,
        environment: Mapping[str, str],
        inherited: Sequence[int] = (),
    ) -> None:
        self.command = command
        self.num_processes = num_processes
        self.folder = folder
        self.environment = environment
        self.inherited = inherited
        self.workers: list[Worker] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            guard = self._files.enter_context(_guard())
            with _listening() as store, blocked(STOP_SIGNALS):
                for rank in range(self.num_processes):
                    worker = self._start(rank, store)
                    self.workers.append(worker)
                    guard.write(f"{worker.process.pid}\n".encode())
                    guard.flush()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill(self.running)
        self.wait(seconds=5)  # a process in an uninterruptible wait of the kernel is left to it
        self._files.close()

    @property
    def running(self) -> list[Worker]:
        """Those that have not ended, as far as `look` has seen."""
        return [worker for worker in self.workers if worker.ended is None]

    @property
    def ended(self) -> list[Ended]:
        """How each worker that has ended did so, by rank."""
        return [
            Ended(
                rank=worker.rank,
                pid=worker.process.pid,
                code=worker.process.returncode,
                time=worker.ended,
                report=read_report(self.folder, worker.rank),
                hung=worker.hung,
                was_killed=worker.was_killed,
            )
            for worker in self.workers
            if worker.ended is not None
        ]

    def look(self) -> None:
        """Take in signs of life and ends of processes."""
        for worker in self.running:
            self._listen(worker)
            if _has_ended(worker.process):
                _signal_group(worker, signal.SIGKILL)  # what it started, while nobody else can get its number
                worker.process.wait()
                worker.ended = time.time()

    def wait(self, *, seconds: float) -> None:
        """Until all have ended, at most so long."""
        until = time.monotonic() + seconds
        self.look()
        while self.running and time.monotonic() < until:
            time.sleep(0.02)
            self.look()

    def send(self, number: int) -> None:
        """A signal to each worker."""
        for worker in self.running:
            _signal(worker, number)

    def kill(self, workers: Sequence[Worker]) -> None:
        """End these workers, and what they started, at once."""
        for worker in workers:
            worker.was_killed = True
            _signal_group(worker, signal.SIGKILL)

    def dump_stacks(self, *, seconds: float) -> None:
        """Let each worker write down what its threads are doing; a stopped one is woken for it."""
        for worker in self.running:
            _signal(worker, DUMP_SIGNAL)
            _signal(worker, signal.SIGCONT)
        until = time.monotonic() + seconds
        files = [stacks_file(self.folder, worker.rank) for worker in self.running]
        while time.monotonic() < until and not all(file.is_file() and file.stat().st_size for file in files):
            time.sleep(0.05)
        time.sleep(0.1)  # the rest of the last one

    def _listen(self, worker: Worker) -> None:
        if worker.beats is None:
            return
        with contextlib.suppress(BlockingIOError):
            if os.read(worker.beats, 65536):
                worker.heard = time.monotonic()
            else:
                worker.beats = None

    def _start(self, rank: int, store: socket.socket) -> Worker:
        for file in (error_file(self.folder, rank), stacks_file(self.folder, rank)):
            file.unlink(missing_ok=True)
        beats, write_end = os.pipe()
        os.set_blocking(beats, False)
        os.set_blocking(write_end, False)
        self._files.callback(os.close, beats)
        output = None  # the first rank's is shown
        if rank:
            output = self._files.enter_context(log_file(self.folder, rank).open("wb"))
        passed = [write_end, *self.inherited, *([store.fileno()] if rank == 0 else [])]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                self.command,
                env=self._environment_of(rank, store, beats=write_end),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=passed,
                process_group=0,  # Ctrl-C reaches the launcher alone, which passes it on
            )
        finally:
            os.close(write_end)
        return Worker(rank=rank, process=process, beats=beats, heard=time.monotonic())

    def _environment_of(self, rank: int, store: socket.socket, *, beats: int) -> dict[str, str]:
        own = {WORKER_VARIABLE: str(rank), BEATS_VARIABLE: str(beats)}
        variables = {**os.environ, **self.environment, **own}
        if self.num_processes == 1:
            return variables
        count, port = str(self.num_processes), str(store.getsockname()[1])
        variables |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": LOOPBACK,
            "MASTER_PORT": port,
        }
        variables |= {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        if rank == 0:
            variables[STORE_VARIABLE] = str(store.fileno())
        return variables


@contextmanager
def _guard() -> Iterator[IO[bytes]]:
    """A process that outlives a killed launcher for a moment; takes process groups, one a line."""
    with subprocess.Popen(  # noqa: S603 - a constant
        ["/bin/sh", "-c", GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        assert process.stdin is not None
        try:
            yield process.stdin
        finally:
            process.kill()  # before its standard input is closed


def _listening() -> socket.socket:
    """A socket that rank 0 inherits: a port that is only looked up and given back may be taken by others."""
    return socket.create_server((LOOPBACK, 0), backlog=128)


@contextmanager
def blocked(signals: Sequence[int]) -> Iterator[None]:
    """Processes that are started meanwhile have these signals blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has; where the system allows it, its number stays taken until `wait`."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(worker: Worker, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.process.pid, number)


def _signal_group(worker: Worker, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, number)
