"""Environment variables and signals by which launchers talk to a process, and its share of the machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

from runwright.errors import ConfigError

WORKER_VARIABLE = "RUNWRIGHT_WORKER"  # set in the processes that our own launcher starts
BEATS_VARIABLE = "RUNWRIGHT_BEATS_FD"  # a pipe for their heartbeats
STOP_VARIABLE = "RUNWRIGHT_STOP_FILE"  # in the jobs of a multirun: is there once it was told to stop
STORE_VARIABLE = "RUNWRIGHT_STORE_FD"  # a listening socket for rank 0, so that nobody else gets the port

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C; kill, schedulers; SLURM's warning
TIME_LIMIT = 1  # a stop code like the signals' numbers, which begin at 2 here

Handler = TypeVar("Handler", bound=Callable[[int, FrameType | None], object])


def rank() -> int:
    """This process's number among all of the run, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes that the launcher announced."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Number of processes of the run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size())))


def started_from_outside() -> bool:
    """Return True if torchrun, `accelerate launch` or the like started this process: it starts no others."""
    if WORKER_VARIABLE in os.environ:
        return False
    return "WORLD_SIZE" in os.environ or any(
        name.startswith(("ACCELERATE_", "TORCHELASTIC_")) for name in os.environ
    )


def check_num_processes(wanted: int) -> None:
    """Raise ConfigError if another number of processes was started: some launchers silently start one."""
    started = world_size()
    if wanted not in (1, started):
        raise ConfigError(
            f"launch.num_processes: given {wanted}, but the launcher started {started}, expected as many: "
            f"`runwright train launch.num_processes={wanted}` or `torchrun --nproc_per_node {wanted}`"
        )


def share_of_cores(num_processes: int) -> int:
    """An equal share of the cores that this process may use, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_processes)


class EvaluationStopped(Exception):  # noqa: N818 - not an error
    """A signal ended an evaluation before its end, on all ranks together."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stopped by signal {code}")
        self.code = code


class StopFlag:
    """Signal handler whose `code` the loop reads once a step; 0 while no signal came."""

    def __init__(self) -> None:
        self.code = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal passes
        """Note the signal; a second Ctrl-C no longer waits for the step."""
        if self.code == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.code = number


@contextmanager
def catch_signals(handler: Handler) -> Iterator[Handler]:
    """Let `handler` take SIGNALS while the context lasts; earlier handlers are put back.

    A launcher may have started the process with these signals blocked: from now on they are let through.
    Outside the main thread signals cannot be caught: the handler is then never called.
    """
    before = {}
    with suppress(ValueError):  # not the main thread
        before = {number: signal.signal(number, handler) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield handler
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
