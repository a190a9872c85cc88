"""A signal to a multirun: the jobs that run save and end, and no further one begins.

Jobs may be started by processes of a launcher: those learn of it from a file that their environment names.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from runwright.launch.group import STOP_SIGNALS, blocked
from runwright.trainer.environment import STOP_VARIABLE

JOB_FLAG = "--resolved"  # tells the jobs from other processes that a launcher has


class SweepStopped(BaseException):  # no `except Exception` of Hydra holds it up
    """A signal ended a multirun between two jobs."""


@contextmanager
def catch_stops() -> Iterator[None]:
    """Pass stop signals on to the jobs while the context lasts; `stop_number` then gives the first one.

    Outside the main thread signals cannot be caught.
    """
    with tempfile.TemporaryDirectory(prefix="runwright-sweep-") as folder:
        file = Path(folder, "stop")
        os.environ[STOP_VARIABLE] = str(file)
        before = {}
        with contextlib.suppress(ValueError):  # not the main thread
            before = {number: signal.signal(number, _pass_on) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            del os.environ[STOP_VARIABLE]


def stop_number() -> int | None:
    """The signal that ended the multirun that this process belongs to; None while it goes on."""
    file = os.environ.get(STOP_VARIABLE)
    try:
        return int(Path(file).read_text(encoding="ascii") or 0) or None if file else None
    except FileNotFoundError:
        return None


def run_stoppable(command: Sequence[str], output: Path | None) -> int:
    """Run a job to its end; its exit code. A stop of the multirun reaches it."""
    with contextlib.ExitStack() as files:
        stream = files.enter_context(output.open("wb")) if output else None
        with blocked(STOP_SIGNALS):  # until the job can handle them; it lets them through
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdout=stream,
                stderr=subprocess.STDOUT if stream else None,
                process_group=0,  # Ctrl-C reaches the multirun alone, which passes it on
            )
        if number := stop_number():  # it came while the job was started
            process.send_signal(number)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # Ctrl-C in a launcher's process
                continue


def _pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal passes
    file = Path(os.environ[STOP_VARIABLE])
    if not file.exists():
        file.write_text(str(number), encoding="ascii")
        name = signal.Signals(number).name
        # Not by print, whose buffer the signal may have interrupted.
        os.write(2, f"{name}: jobs end after this step and save; no further one starts\n".encode())
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if JOB_FLAG in process.cmdline():
                process.send_signal(number)
