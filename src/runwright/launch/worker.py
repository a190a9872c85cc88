"""A worker: `python -m runwright.launch.worker FOLDER` executes the run in FOLDER; groups of workers.

Each worker is in a process group of its own, of which nothing outlives its `WorkerGroup`.

When one rank dies the others fail as well, with an error about a lost connection. Each writes down its own
error before it ends, with the time and whether it looks like an echo, so that the first one can be shown.
"""

import atexit
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal, Self

from runwright.config.redaction import redact
from runwright.errors import RunwrightError
from runwright.errors import report as report_error
from runwright.report.log import guard_streams
from runwright.report.progress import Progress
from runwright.runs.folder import CONFIG_FILE, read_config
from runwright.store import write_json
from runwright.trainer import environment
from runwright.trainer.environment import (
    SIGNALS,
    STORE_VARIABLE,
    WORKER_VARIABLE,
    Interrupted,
    StopFlag,
    catch_signals,
)

REPORTS_VARIABLE = "RUNWRIGHT_REPORTS"  # the folder for what workers write down about themselves
LOG, ERROR, STACKS = "log", "error.json", "stacks.txt"  # of a rank
DUMP_SIGNAL = signal.SIGUSR2  # the stacks of all threads are then written down
PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Words of gloo (tcp/pair.cc, unbound_buffer.cc), torch's stores and NCCL about a rank that is gone or silent.
TIMEOUT_WORDS = ("Timed out waiting", "timed out after", "operation timeout", "wait timeout after")
ECHO_WORDS = ("Connection closed by peer", "Connection reset", "Broken pipe", "NCCL error", "recvValue fail")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An error that ended a worker, written by itself."""

    time: float
    kind: Literal["mistake", "error", "timeout", "echo"]
    exit_code: int
    message: str
    trace: str


def rank_file(folder: Path, rank: int, ending: str) -> Path:
    """File of one worker in the folder of reports: LOG, ERROR, or STACKS of its threads."""
    return folder / f"rank-{rank}.{ending}"


def main(arguments: list[str]) -> int:
    """Execute the run in a folder as one of its workers."""
    folder = Path(*arguments)

    def execute() -> None:
        import_execute(mode=read_config(folder / CONFIG_FILE)["log"]["progress"]).execute(folder)

    return work(execute)


def import_execute(*, mode: str) -> ModuleType:
    """The module that executes runs; says what is imported meanwhile, which takes seconds."""
    say = partial(print, file=sys.stderr, flush=True)
    libraries = "importing torch, transformers, datasets"
    first = environment.rank() == 0
    with Progress(enabled=first, mode=mode, say=say) as progress, progress.starting(libraries):
        return import_uncollected("runwright.runs.execute")


def import_uncollected(name: str) -> ModuleType:
    """A module whose first import the garbage collector does not watch, nor what it left ever after.

    It lives to the end. Walking through it ten times took 0.9 of the 4.5 seconds until a first step.
    """
    if name in sys.modules:  # what came since may be garbage
        return importlib.import_module(name)
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def work(function: Callable[[], object]) -> int:
    """Call the function, with stacks on demand and an error report; returns the exit code."""
    rank, reports = int(os.environ[WORKER_VARIABLE]), Path(os.environ[REPORTS_VARIABLE])
    die_with_parent(signal.SIGKILL)
    stacks = rank_file(reports, rank, STACKS).open("w", encoding="utf-8")  # open to the end: signals write
    faulthandler.enable(file=stacks)
    faulthandler.register(DUMP_SIGNAL, file=stacks, all_threads=True)
    try:
        with catch_signals(StopFlag(at_once=True)):
            function()
    except KeyboardInterrupt as error:
        return error.code if isinstance(error, Interrupted) else 130
    except Exception as error:  # noqa: BLE001 - the launcher shows the first one of all workers
        code = error.exit_code if isinstance(error, RunwrightError) else 1
        if code <= 128:
            write_report(reports, rank, error, exit_code=code)
        elif rank == 0:  # stopped by a signal, which is no failure
            print(error, file=sys.stderr)
        return code
    return 0


def write_report(folder: Path, rank: int, error: Exception, *, exit_code: int) -> None:
    """Write down the error that ends this worker."""
    text = str(error)
    if isinstance(error, RunwrightError):
        kind = "mistake"
    elif any(words in text for words in TIMEOUT_WORDS):
        kind = "timeout"
    else:
        kind = "echo" if any(words in text for words in ECHO_WORDS) else "error"
    report = Report(
        time=time.time(),
        kind=kind,
        exit_code=exit_code,
        message=redact(report_error(error)),
        trace=redact("".join(traceback.format_exception(error))),
    )
    write_json(rank_file(folder, rank, ERROR), asdict(report))


def read_report(folder: Path, rank: int) -> Report | None:
    """The error that a worker wrote down, if it did."""
    try:
        return Report(**json.loads(rank_file(folder, rank, ERROR).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def die_with_parent(number: int) -> None:
    """Get this signal when the process that started this one ends, however it ends; on Linux."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended just before
        os.kill(os.getpid(), number)


# --- the processes of one attempt -------------------------------------------------------------------------

LOOPBACK = "127.0.0.1"
# Reads the process groups of the workers and, when the launcher is gone (its end of the pipe is closed),
# ends them: what workers started would otherwise outlive a launcher that was killed.
GUARD = 'groups=""; while read -r group; do groups="$groups -$group"; done; kill -s KILL -- $groups'


@dataclass(kw_only=True, slots=True)
class Worker:
    """One process of a group, and how it ended."""

    rank: int
    process: subprocess.Popen[bytes]
    ended: float | None = None  # time.time()
    report: Report | None = None  # its own error
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

    `command` is run once for each rank; `folder` gets their reports. Signals wait until one handles them.
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
        """Note which processes have ended since, with the errors that they reported."""
        for worker in self.running:
            if worker.process.poll() is not None:
                worker.send(signal.SIGKILL, to_all=True)  # what it started; these keep its number taken
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
        variables = {WORKER_VARIABLE: str(rank), REPORTS_VARIABLE: str(self.folder)}
        if self.num_processes > 1:
            variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": LOOPBACK}
            variables |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(self.num_processes))
            variables["MASTER_PORT"] = str(store.getsockname()[1])
            if rank == 0:
                variables[STORE_VARIABLE] = str(store.fileno())
        output = None  # the first rank's is shown
        if rank:
            output = self._files.enter_context(rank_file(self.folder, rank, LOG).open("wb"))
        process = subprocess.Popen(  # noqa: S603 - our own command
            self.command,
            env={**os.environ, **self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[*self.inherited, *([] if rank else [store.fileno()])],
            process_group=0,  # Ctrl-C reaches the launcher alone, which passes it on
        )
        return Worker(rank=rank, process=process)


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


if __name__ == "__main__":
    guard_streams()
    code = main(sys.argv[1:])
    # All is written. Python's own end once aborted a worker of a run that had finished ("terminate called
    # without an active exception": a thread of a library was left), so what remains is done here.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
