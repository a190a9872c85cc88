"""Signals that end a training after a whole step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TIME_LIMIT = 1  # a stop code like the signals' numbers, which begin at 2 here
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C; kill, schedulers; SLURM's warning


class EvaluationStopped(Exception):  # noqa: N818 - not an error
    """A signal ended an evaluation before its end, on all ranks together."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stopped by signal {code}")
        self.code = code


class StopFlag:
    """Set by a signal, read by the loop once a step."""

    def __init__(self) -> None:
        self.code = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal passes
        """The signal handler; a second Ctrl-C no longer waits for the step."""
        if self.code == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.code = number


@contextmanager
def catch_signals() -> Iterator[StopFlag]:
    """A flag that signals set while the context lasts; earlier handlers are put back.

    A launcher may have started the process with these signals blocked: from now on they are let through.
    Outside the main thread signals cannot be caught: the flag then stays unset.
    """
    flag = StopFlag()
    try:
        before = {number: signal.signal(number, flag) for number in SIGNALS}
    except ValueError:  # not the main thread
        yield flag
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
