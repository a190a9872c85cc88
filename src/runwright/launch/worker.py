"""What runs in a worker: `python -m runwright.launch.worker FOLDER REPORTS` executes the run in FOLDER."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from runwright.errors import RunwrightError
from runwright.launch.group import DUMP_SIGNAL
from runwright.launch.reports import stacks_file, write_report
from runwright.trainer.environment import BEATS_VARIABLE, WORKER_VARIABLE

BEAT_SECONDS = 1.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> int:
    """Execute the run in a folder as one of its workers."""
    folder, reports = map(Path, arguments)
    return work(lambda: _execute(folder), reports=reports)


def work(function: Callable[[], object], *, reports: Path) -> int:
    """Call the function with signs of life, stacks on demand and an error report; gives the exit code."""
    rank, beats = int(os.environ[WORKER_VARIABLE]), int(os.environ[BEATS_VARIABLE])
    die_with_parent(signal.SIGKILL)
    os.set_inheritable(beats, False)  # noqa: FBT003 - the system's signature
    threading.Thread(target=_beat, args=(beats,), name="beat", daemon=True).start()
    stacks = stacks_file(reports, rank).open("w", encoding="utf-8")  # open to the end: signals write
    faulthandler.enable(file=stacks)
    faulthandler.register(DUMP_SIGNAL, file=stacks, all_threads=True)
    try:
        function()
    except KeyboardInterrupt:
        return 130
    except RunwrightError as error:
        if error.exit_code > 128:  # stopped by a signal, which is no failure
            if rank == 0:
                print(error, file=sys.stderr)
            return error.exit_code
        write_report(reports, rank, error, exit_code=error.exit_code)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the launcher shows the first one of all workers
        write_report(reports, rank, error, exit_code=1)
        return 1
    return 0


def die_with_parent(number: int) -> None:
    """Get this signal when the process that started this one ends, however it ends; on Linux."""
    if sys.platform != "linux":
        return  # the beating thread notices
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended just before
        os.kill(os.getpid(), number)


def _execute(folder: Path) -> None:
    from runwright.runs.execute import execute

    execute(folder)


def _beat(beats: int) -> None:
    """Sign of life once a second. A thread of its own: long calls into libraries let it run."""
    while True:
        try:
            with contextlib.suppress(BlockingIOError):
                os.write(beats, b".")
        except OSError:  # the launcher is gone
            os.killpg(0, signal.SIGKILL)
        time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
