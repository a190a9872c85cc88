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
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Self

from runwright.launch.worker import DUMP_SIGNAL, ERROR, LOG, STACKS, Report, rank_file, read_report
from runwright.trainer.environment import BEATS_VARIABLE, SIGNALS, STORE_VARIABLE, WORKER_VARIABLE

LOOPBACK = "127.0.0.1"
# Reads the process groups of the workers and, when the launcher is gone (its end of the pipe is closed),
# ends them: what workers started would otherwise outlive a launcher that was killed.
GUARD = 'groups=""; while read -r group; do groups="$groups -$group"; done; kill -s KILL -- $groups'


@dataclass(kw_only=True, slots=True)
class Worker:
    """One process of a group, and how it ended."""

    rank: int
    process: subprocess.Popen[bytes]
    beats: int | None  # the reading end of a pipe; a byte is a heartbeat, None: closed by the worker
    heard: float  # time.monotonic() of the last one
    ended: float | None = None  # time.time()
    report: Report | None = None  # its own error
    hung: bool = False  # no heartbeat for too long
    was_killed: bool = False  # by the launcher, because of another

    @property
    def code(self) -> int:
        """Exit code of one that has ended; negative for a signal."""
        return self.process.returncode

    def send(self, number: int, *, to_all: bool = False) -> None:
        """Signal the process, or with `to_all` also what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if to_all else os.kill)(self.process.pid, number)


@dataclass
class WorkerGroup:
    """Starts the workers when entered; when left, all of them and what they started are gone.

    `command` is run once for each rank; `folder` is for their reports. Signals that ask for a stop wait,
    blocked, until a worker can handle them.
    """

    command: Sequence[str]
    _: KW_ONLY
    num_processes: int
    folder: Path
    environment: Mapping[str, str]
    inherited: Sequence[int] = ()
    workers: list[Worker] = field(default_factory=list)
    _files: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            guard = self._files.enter_context(_guard())
            # Rank 0 inherits the socket: a port that is only looked up and given back may be taken by others.
            with socket.create_server((LOOPBACK, 0), backlog=128) as store, blocked():
                for rank in range(self.num_processes):
                    self.workers.append(self._start(rank, store))
                    os.write(guard, f"{self.workers[-1].process.pid}\n".encode())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(self.running)
        self.wait(seconds=5)  # a process in an uninterruptible wait of the kernel is left to it
        self._files.close()

    @property
    def running(self) -> list[Worker]:
        """Workers that have not ended, as far as `look` has seen."""
        return [worker for worker in self.workers if worker.ended is None]

    @property
    def ended(self) -> list[Worker]:
        """Workers that have ended, by rank."""
        return [worker for worker in self.workers if worker.ended is not None]

    def look(self) -> None:
        """Take in heartbeats and ends of processes."""
        for worker in self.running:
            if worker.beats is not None:
                with contextlib.suppress(BlockingIOError):
                    if os.read(worker.beats, 65536):
                        worker.heard = time.monotonic()
                    else:
                        worker.beats = None
            if hasattr(os, "waitid"):  # with WNOWAIT its number stays taken until `wait`
                how = os.WEXITED | os.WNOHANG | os.WNOWAIT
                has_ended = os.waitid(os.P_PID, worker.process.pid, how) is not None
            else:
                has_ended = worker.process.poll() is not None
            if has_ended:
                # What it started, while nobody else can get its number.
                worker.send(signal.SIGKILL, to_all=True)
                worker.process.wait()
                worker.report = read_report(self.folder, worker.rank)
                worker.ended = time.time()

    def wait(self, *, seconds: float) -> None:
        """Wait until all have ended, at most so long."""
        until = time.monotonic() + seconds
        self.look()
        while self.running and time.monotonic() < until:
            time.sleep(0.02)
            self.look()

    def kill(self, workers: Sequence[Worker]) -> None:
        """End these workers, and what they started, at once."""
        for worker in workers:
            worker.was_killed = True
            worker.send(signal.SIGKILL, to_all=True)

    def dump_stacks(self, *, seconds: float) -> None:
        """Let each worker write down the stacks of its threads; a stopped one is woken for it."""
        for worker in self.running:
            worker.send(DUMP_SIGNAL)
            worker.send(signal.SIGCONT)
        until = time.monotonic() + seconds
        files = [rank_file(self.folder, worker.rank, STACKS) for worker in self.running]
        while time.monotonic() < until and not all(file.is_file() and file.stat().st_size for file in files):
            time.sleep(0.05)
        time.sleep(0.1)  # the rest of the last one

    def _start(self, rank: int, store: socket.socket) -> Worker:
        for file in (rank_file(self.folder, rank, ERROR), rank_file(self.folder, rank, STACKS)):
            file.unlink(missing_ok=True)
        beats, write_end = os.pipe()
        self._files.callback(os.close, beats)
        for end in (beats, write_end):
            os.set_blocking(end, False)
        variables = {WORKER_VARIABLE: str(rank), BEATS_VARIABLE: str(write_end)}
        if self.num_processes > 1:
            variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": LOOPBACK}
            variables |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(self.num_processes))
            variables["MASTER_PORT"] = str(store.getsockname()[1])
            if rank == 0:
                variables[STORE_VARIABLE] = str(store.fileno())
        output = None  # the first rank's is shown
        if rank:
            output = self._files.enter_context(rank_file(self.folder, rank, LOG).open("wb"))
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                self.command,
                env={**os.environ, **self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[write_end, *self.inherited, *([] if rank else [store.fileno()])],
                process_group=0,  # Ctrl-C reaches the launcher alone, which passes it on
            )
        finally:
            os.close(write_end)
        return Worker(rank=rank, process=process, beats=beats, heard=time.monotonic())


@contextmanager
def _guard() -> Iterator[int]:
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
            yield process.stdin.fileno()
        finally:
            process.kill()  # before its standard input is closed


@contextmanager
def blocked() -> Iterator[None]:
    """Let processes that are started meanwhile begin with SIGNALS blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
