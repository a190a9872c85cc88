"""A run in several processes on this machine: the parent checks and supervises, workers execute.

The parent never imports torch. torch's elastic launcher (torch.distributed.elastic, read in 2.13) is not
used: importing it costs the parent two seconds; a failing rank's own traceback, restarts from our
checkpoints, exit codes 130 and 143, the stacks of ranks that hang and a port that nobody can snatch would all
have to be added around it; and its workers live on when it is killed.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runwright.config.options import LaunchOptions
from runwright.config.permissions import worker_environment
from runwright.config.redaction import redact
from runwright.launch.worker import LOG, STACKS, Worker, WorkerGroup, rank_file, work
from runwright.runs.folder import read_run, update_status
from runwright.runs.resume import record_resume
from runwright.runs.states import UNENDED, end_journal
from runwright.trainer.environment import (
    SIGNALS,
    WORKER_VARIABLE,
    catch_signals,
    check_num_processes,
    share_of_cores,
    world_size,
)

LOG_FILE = "log.txt"
REPORTS_FOLDER = "workers"
MODULE = "runwright.launch.worker"
POLL_SECONDS = 0.05
DUMP_SECONDS = 2.0  # for the stacks of a group that hangs
AFTER_FAILURE_SECONDS = 7.0  # for the others to notice and to close the run; with the dump, under 10
STOP_CODES = {128 + number for number in SIGNALS}
MAX_SIGNALS = 3  # the first is passed on, the second as well and hurries the workers, the third ends them
TAIL_LINES = 20
FATAL_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """End of a group of workers."""

    code: int  # exit code: 0; 130, 138 or 143 after a signal; else of the first failure
    failure: str = ""  # the reason in one line
    text: str = ""  # all that is shown of a failure, the first traceback included
    is_mistake: bool = False  # the user's to mend: the same would come again


def launch(folder: Path, options: LaunchOptions, *, num_threads: int | None, lock: int) -> int:
    """Execute the run in `folder` by workers, starting them again after a failure as often as allowed.

    `lock` is the descriptor of the run's lock, which workers inherit. Returns the exit code.
    """
    before, stops = read_run(folder), list[int]()
    with catch_signals(lambda number, _: stops.append(number)):
        for attempt in range(options.max_restarts + 1):
            outcome = run_group(
                [MODULE, str(folder)],
                folder / REPORTS_FOLDER,
                num_processes=options.num_processes,
                num_threads=num_threads,
                grace_seconds=options.grace_seconds,
                inherited=[lock],
                stops=stops,
                say=partial(_say, folder),
            )
            if outcome.failure:
                _say(folder, outcome.text)
            if not outcome.failure or outcome.is_mistake or stops or attempt == options.max_restarts:
                _settle(folder, outcome, before=before)
                return outcome.code
            _say(folder, f"restart {attempt + 1} of {options.max_restarts}, from the newest checkpoint")
            record_resume(folder, {})
    raise AssertionError("the last attempt returns")


def share_command(execute: Callable[[], int], words: Sequence[str], *, num_processes: int) -> int:
    """A command in several processes that share its work; returns the exit code.

    `execute` is the command itself, in one of them; `words` are those of the command line.
    """
    if WORKER_VARIABLE in os.environ:
        return work(execute)
    if world_size() > 1:  # torchrun's
        check_num_processes(num_processes)
        return execute()
    with tempfile.TemporaryDirectory(prefix="runwright-") as reports:
        outcome = run_group(["runwright", *words], Path(reports), num_processes=num_processes)
    if outcome.failure:
        print(outcome.text, file=sys.stderr)
    elif outcome.code:
        print("stopped; the same command goes on", file=sys.stderr)
    return outcome.code


def run_group(
    words: Sequence[str],
    reports: Path,
    *,
    num_processes: int,
    num_threads: int | None = None,
    grace_seconds: float = AFTER_FAILURE_SECONDS,
    inherited: Sequence[int] = (),
    stops: list[int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run a module with its arguments in several processes to their end.

    Signals are passed on to them, and added to `stops`; `inherited` are descriptors.
    """
    stops = [] if stops is None else stops
    # Set for one process too: accelerate would choose another number, with a warning.
    threads = {"OMP_NUM_THREADS": str(num_threads or share_of_cores(num_processes))}
    group = WorkerGroup(
        [sys.executable, "-P", "-m", *words],  # -P: no file of the working folder replaces a module
        num_processes=num_processes,
        folder=reports,
        environment={**worker_environment(), **threads},
        inherited=inherited,
    )
    with catch_signals(lambda number, _: stops.append(number)), group:
        return supervise(group, stops, grace_seconds=grace_seconds, say=say)


def _settle(folder: Path, outcome: Outcome, *, before: Mapping[str, Any]) -> None:
    """Correct the run's status where rank 0 could not, and name what failed first rather than last.

    A run that had begun `before`, and that the workers refused to resume, stays as it was.
    """
    record = read_run(folder)
    if outcome.failure:
        refused = outcome.is_mistake and before["status"] != "CREATED"
        if record != before or not (refused or before["status"] not in UNENDED):
            _set_status(folder, "FAILED", error=outcome.failure)
        return
    shutil.rmtree(folder / REPORTS_FOLDER, ignore_errors=True)
    if outcome.code and record["status"] != "KILLED":
        _set_status(folder, "KILLED")


def _set_status(folder: Path, status: str, **fields: str) -> None:
    if read_run(folder)["status"] != status:
        end_journal(folder, status)
    update_status(folder, status, end_time=time.time(), **fields)


def _say(folder: Path, text: str) -> None:
    text = redact(text)  # the end of a worker's output may be in it
    print(text, file=sys.stderr, flush=True)
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} launcher: {text}\n")


def supervise(
    group: WorkerGroup, stops: Sequence[int], *, grace_seconds: float, say: Callable[[str], None]
) -> Outcome:
    """Wait for a started group; in the end no process of it is left. `stops` grows with signals that come."""
    passed_on, deadline = 0, None
    while group.running:
        time.sleep(POLL_SECONDS)
        group.look()
        for number in stops[passed_on:]:
            passed_on += 1
            for worker in group.running:
                worker.send(number)
            name = signal.Signals(number).name
            say(f"{name}: the workers end after this step and save; {grace_seconds:g} s for that")
        stopping = bool(stops) or any(worker.code in STOP_CODES for worker in group.ended)
        # A worker that is still starting, or closing, dies of the signal itself.
        good = {0, *STOP_CODES, *((-number for number in SIGNALS) if stopping else ())}
        if any(worker.code not in good for worker in group.ended):
            return _fail(group)
        if stopping:
            deadline = deadline or time.monotonic() + grace_seconds
            if time.monotonic() > deadline or len(stops) >= MAX_SIGNALS:
                group.kill(group.running)
                group.wait(seconds=5)
                code = _stop_code(group, stops)
                name = signal.Signals(code - 128).name
                reason = f"not ended {grace_seconds:g} s after {name}"
                reason = f"{len(stops)} signals" if len(stops) >= MAX_SIGNALS else reason
                say(f"killed: {reason}; the newest checkpoint stands")
                return Outcome(code=code)
    code = _stop_code(group, stops) if any(worker.code for worker in group.ended) else 0
    return Outcome(code=code)


def _stop_code(group: WorkerGroup, stops: Sequence[int]) -> int:
    """128 + the signal that ended the run."""
    codes = [worker.code for worker in group.ended if worker.code in STOP_CODES]
    return (codes or [128 + n for n in stops] or [128 - w.code for w in group.ended if w.code < 0])[0]


def _fail(group: WorkerGroup) -> Outcome:
    """End the rest of a group in which something failed; the failure that all others followed from."""
    if any(worker.report and worker.report.kind == "timeout" for worker in group.ended):
        group.dump_stacks(seconds=DUMP_SECONDS)
    group.wait(seconds=AFTER_FAILURE_SECONDS)
    group.kill(group.running)
    group.wait(seconds=5)
    first = min(group.workers, key=_precedence)
    report, code, num = first.report, first.code, len(group.workers)
    who = f"rank {first.rank} of {num} (process {first.process.pid})"
    if report and report.kind == "timeout":
        failure = f"the {num} ranks waited for one another for longer than launch.timeout_seconds"
        lines = [f"{failure}; stacks of all:"]
        for worker in group.workers:
            stacks = _tail(rank_file(group.folder, worker.rank, STACKS), limit=0)
            trace = worker.report.trace.rstrip().splitlines() if worker.report else []
            lines.append(f"--- rank {worker.rank} (process {worker.process.pid})")
            lines += stacks or trace or ["no stacks and no error of its own"]
        return Outcome(code=1, failure=failure, text="\n".join(lines))
    if report is None:
        failure = f"{who} ended with exit code {code} and no error of its own"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            hint = "; often the machine ran out of memory (see dmesg)" if -code == signal.SIGKILL else ""
            failure = f"{who} was killed by {name}{hint}"
        stacks = _tail(rank_file(group.folder, first.rank, STACKS)) if -code in FATAL_SIGNALS else []
        text = "\n".join([failure, *stacks, *_tail(rank_file(group.folder, first.rank, LOG))])
        code = code if code >= 0 else 128 - code  # as a shell says it
        return Outcome(code=code, failure=failure, text=text)
    is_mistake, first_line = report.kind == "mistake", report.message.partition("\n")[0]
    return Outcome(
        code=report.exit_code,
        failure=f"{who} failed: {first_line}",
        text=report.message if is_mistake else f"{who} failed:\n{report.trace.rstrip()}",
        is_mistake=is_mistake,
    )


def _precedence(worker: Worker) -> tuple[int, float]:
    """Errors of its own and deaths by time, before time-outs, before echoes of another rank's failure."""
    if worker.report is None:
        return (9 if worker.was_killed or worker.code == 0 else 1), worker.ended or 0.0
    return {"mistake": 1, "error": 1, "timeout": 2, "echo": 3}[worker.report.kind], worker.report.time


def _tail(file: Path, *, limit: int = TAIL_LINES) -> list[str]:
    """The last lines of a file that may not be there; all of them for 0."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-limit:]
    except OSError:
        return []
