"""Jobs of a Hydra application as processes of a warm fork server, each on a slot of its own.

The server has done the imports before the first job begins; it runs nothing itself. A job ends in good order
when the process that started it dies.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

from runwright.sweep import trial

GRACE_SECONDS = 30.0  # between SIGTERM and SIGKILL of a job that took too long


@dataclass(kw_only=True, slots=True)
class Job:
    """A running job, its process and the slot that it takes."""

    number: int
    slot: int
    process: Any
    answers: Connection
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None  # since when it has been told to end, for taking too long


class Pool:
    """As many jobs at a time as there are slots."""

    def __init__(
        self, slots: Sequence[Mapping[str, str]], *, preload: Sequence[str], minutes: float | None
    ) -> None:
        self.slots = slots  # environment variables of each
        self.minutes = minutes
        self.jobs: dict[int, Job] = {}
        self.leaving: list[Job] = []  # have answered, and finish what nobody waits for (`trial.after_answer`)
        self.context: Any = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["runwright.sweep.study", "runwright.sweep.processes", *preload])

    def free_slot(self) -> int | None:
        """A slot for a new job; that of a device when the process, which has memory there, is gone."""
        busy = {job.slot for job in self.jobs.values()}
        busy |= {job.slot for job in self.leaving if "CUDA_VISIBLE_DEVICES" in self.slots[job.slot]}
        if len(self.leaving) > 2 * len(self.slots):  # a store that hangs must not gather processes
            return None
        return next((slot for slot in range(len(self.slots)) if slot not in busy), None)

    def start(self, number: int, task: Any, *, environment: Mapping[str, str], output: Path) -> None:
        """Call `task` in a new process on a free slot; everything it prints goes to a file."""
        slot = self.free_slot()
        assert slot is not None
        variables = {**os.environ, **self.slots[slot], **environment}
        receiving, sending = self.context.Pipe(duplex=False)
        arguments = (cloudpickle.dumps(task), variables, str(output), sending)
        process = self.context.Process(target=_work, args=arguments)
        process.start()
        sending.close()
        self.jobs[number] = Job(number=number, slot=slot, process=process, answers=receiving)

    def ended(self, *, timeout: float) -> Iterator[tuple[int, dict[str, Any], float]]:
        """Number, answer (see `call`) and seconds of jobs that ended since; waits so long for the first."""
        leaving = [job.process.sentinel for job in self.leaving]
        wait([*leaving, *(job.answers for job in self.jobs.values())], timeout=timeout)
        self.leaving = [job for job in self.leaving if job.process.is_alive()]
        for job in list(self.jobs.values()):
            self._end_late(job)
            # It may have died without a word while processes that it left behind hold its end of the pipe.
            lives = psutil.pid_exists(job.process.pid)
            if not (is_told := job.answers.poll()) and lives:
                continue
            answer: dict[str, Any] = {}
            with suppress(EOFError, OSError):
                answer = cloudpickle.loads(job.answers.recv_bytes() if is_told else b"")
            job.answers.close()
            del self.jobs[job.number]
            if answer:
                self.leaving.append(job)
            else:
                job.process.join()
            if job.stopped:
                answer = {"reason": f"took longer than {self.minutes:g} minutes"}
            elif not answer:
                code = job.process.exitcode or 0
                ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                answer = {"reason": ended}
            yield job.number, answer, time.monotonic() - job.began

    def send(self, number: int) -> None:
        """Send a signal to every job."""
        for job in self.jobs.values():
            with suppress(ProcessLookupError):
                os.kill(job.process.pid, number)

    def _end_late(self, job: Job) -> None:
        now = time.monotonic()
        if job.stopped is None and self.minutes and now - job.began > 60 * self.minutes:
            job.stopped = now
            job.process.terminate()
        elif job.stopped is not None and now - job.stopped > GRACE_SECONDS:
            job.process.kill()


def call(task: Callable[[], Any]) -> dict[str, Any]:
    """The `value` that a job returned, or the `reason` why it did not."""
    try:
        return {"value": task()}
    except BaseException as error:  # noqa: BLE001 - it is the job's, and is told
        traceback.print_exc()
        return {"reason": f"{type(error).__name__}: {error}".splitlines()[0]}


def _work(task: bytes, variables: dict[str, str], output: str, answers: Connection) -> None:
    """In the new process: call the task and send back what it returned, or why it did not."""
    os.environ.clear()
    os.environ.update(variables)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with Path(output).open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    parent = multiprocessing.parent_process()
    assert parent is not None
    end = os.getpid(), signal.SIGTERM
    threading.Thread(target=lambda: wait([parent.sentinel]) and os.kill(*end), daemon=True).start()
    trial.later = []
    answer = call(cloudpickle.loads(task))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    answers.send_bytes(cloudpickle.dumps(answer))
    answers.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trials that run
    for finish in trial.later:
        call(finish)
    os._exit(0)  # a library's thread that hangs at the end of Python is nobody's result
