"""A worker: `python -m runwright.launch.worker FOLDER REPORTS` executes the run in FOLDER.

When one rank dies the others fail as well, with an error about a lost connection. Each writes down its own
error before it ends, with the time and whether it looks like an echo, so that the first one can be shown.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal

from runwright.config.redaction import redact
from runwright.errors import RunwrightError
from runwright.errors import report as report_error
from runwright.report.log import guard_streams
from runwright.report.progress import Progress
from runwright.runs.folder import CONFIG_FILE, read_config
from runwright.store import write_json
from runwright.trainer import environment
from runwright.trainer.environment import Interrupted, StopFlag, catch_signals

LOG, ERROR, STACKS = "log", "error.json", "stacks.txt"  # of a rank
BEAT_SECONDS = 1.0
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
    folder, reports = map(Path, arguments)

    def execute() -> None:
        import_execute(mode=read_config(folder / CONFIG_FILE)["log"]["progress"]).execute(folder)

    return work(execute, reports=reports)


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


def work(function: Callable[[], object], *, reports: Path) -> int:
    """Call the function with heartbeats, stacks on demand and an error report; returns the exit code."""
    rank = int(os.environ[environment.WORKER_VARIABLE])
    beats = int(os.environ[environment.BEATS_VARIABLE])
    die_with_parent(signal.SIGKILL)
    os.set_inheritable(beats, False)  # noqa: FBT003 - the system's signature
    threading.Thread(target=_beat, args=(beats,), name="beat", daemon=True).start()
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
        return  # the beating thread notices
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended just before
        os.kill(os.getpid(), number)


def _beat(beats: int) -> None:
    while True:  # in a thread of its own, which long calls into libraries let run
        try:
            with contextlib.suppress(BlockingIOError):
                os.write(beats, b".")
        except OSError:  # the launcher is gone
            os.killpg(0, signal.SIGKILL)
        time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    guard_streams()
    code = main(sys.argv[1:])
    # All is written. Python's own end once aborted a worker of a run that had finished ("terminate called
    # without an active exception": a thread of a library was left), so what remains is done here.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
