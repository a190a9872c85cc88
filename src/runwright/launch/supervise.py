"""Watching over a group of workers until it ends well, fails, hangs or is asked to stop."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

from runwright.launch.group import STOP_SIGNALS, WorkerGroup
from runwright.launch.reports import Failure, first_failure

POLL_SECONDS = 0.5
DUMP_SECONDS = 2.0  # for the stacks of a group that hangs
AFTER_FAILURE_SECONDS = 7.0  # for the others to notice and to close the run; with the dump, under 10
STOP_CODES = {128 + number for number in STOP_SIGNALS}
MAX_SIGNALS = 3  # the first is passed on, the second as well and hurries the workers, the third ends them


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a group of workers ended."""

    code: int  # 0; 130, 138 or 143 after a signal; else of the first failure
    failure: Failure | None = None
    was_too_slow: bool = False  # to stop within the grace time: killed


class Inbox:
    """Signals that came while it was open, and a way to sleep until one does; for the main thread."""

    def __init__(self) -> None:
        self.stops: list[int] = []
        self._before: dict[int, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)  # noqa: FBT003 - the socket's signature
        self._writer.setblocking(False)  # noqa: FBT003 - the socket's signature
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._take)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # a multirun starts jobs with them blocked
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def sleep(self, seconds: float, descriptors: Sequence[int]) -> None:
        """Until a signal comes, a descriptor can be read, or the time is over."""
        ready, _, _ = select.select([self._reader, *descriptors], [], [], seconds)
        if self._reader in ready:
            self._reader.recv(4096)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal passes
        if number != signal.SIGCHLD:
            self.stops.append(number)


def supervise(
    group: WorkerGroup,
    inbox: Inbox,
    *,
    timeout_seconds: float,
    grace_seconds: float,
    say: Callable[[str], None],
) -> Outcome:
    """Wait for a started group; in the end no process of it is left."""
    passed_on, deadline = 0, None
    while group.running:
        inbox.sleep(POLL_SECONDS, [worker.beats for worker in group.running if worker.beats is not None])
        group.look()
        for number in inbox.stops[passed_on:]:
            passed_on += 1
            group.send(number)
            name = signal.Signals(number).name
            say(f"{name}: the workers end after this step and save; {grace_seconds:g} s for that")
        stopping = bool(inbox.stops) or any(each.code in STOP_CODES for each in group.ended)
        if _has_failed(group, stopping=stopping) or _mark_silent(group, timeout_seconds):
            return _fail(group, timeout_seconds=timeout_seconds)
        if stopping:
            deadline = deadline or time.monotonic() + grace_seconds
            if time.monotonic() > deadline or len(inbox.stops) >= MAX_SIGNALS:
                group.kill(group.running)
                group.wait(seconds=5)
                return Outcome(code=_stop_code(group, inbox), was_too_slow=True)
    code = _stop_code(group, inbox) if any(each.code for each in group.ended) else 0
    return Outcome(code=code)


def _has_failed(group: WorkerGroup, *, stopping: bool) -> bool:
    """Whether a worker ended other than well or by a stop."""
    # A worker that is still starting, or closing, dies of the signal itself.
    fine = {0, *STOP_CODES, *((-number for number in STOP_SIGNALS) if stopping else ())}
    return any(each.code not in fine for each in group.ended)


def _mark_silent(group: WorkerGroup, timeout_seconds: float) -> bool:
    """Mark the workers that gave no sign of life for too long; whether there are any."""
    now = time.monotonic()
    silent = [worker for worker in group.running if now - worker.heard > timeout_seconds]
    for worker in silent:
        worker.hung = True
    return bool(silent)


def _fail(group: WorkerGroup, *, timeout_seconds: float) -> Outcome:
    """End the rest of a group in which something failed."""
    waited = any(each.report and each.report.kind == "timeout" for each in group.ended)
    if waited or any(worker.hung for worker in group.running):
        group.dump_stacks(seconds=DUMP_SECONDS)
    group.kill([worker for worker in group.running if worker.hung])
    group.wait(seconds=AFTER_FAILURE_SECONDS)
    group.kill(group.running)
    group.wait(seconds=5)
    failure = first_failure(
        group.ended, group.folder, num_ranks=group.num_processes, timeout_seconds=timeout_seconds
    )
    return Outcome(code=failure.code, failure=failure)


def _stop_code(group: WorkerGroup, inbox: Inbox) -> int:
    """128 + the signal that ended the run."""
    codes = [each.code for each in group.ended if each.code in STOP_CODES]
    if codes:
        return codes[0]
    numbers = inbox.stops or [-each.code for each in group.ended if each.code < 0]
    return 128 + numbers[0]
