"""A run in several processes on this machine: the parent checks and supervises, workers execute.

The parent never imports torch. torch's elastic launcher (torch.distributed.elastic, read in 2.13) is not
used: importing it costs the parent two seconds; a failing rank's own traceback, restarts from our
checkpoints, exit codes 130 and 143, the stacks of ranks that hang and a port that nobody can snatch would all
have to be added around it; and its workers live on when it is killed.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from runwright.config.options import LaunchOptions
from runwright.config.permissions import worker_environment
from runwright.launch.group import WorkerGroup
from runwright.launch.supervise import Outcome, supervise
from runwright.runs.folder import read_run, update_status
from runwright.runs.resume import record_resume
from runwright.runs.states import UNENDED, end_journal
from runwright.trainer.environment import catch_signals, share_of_cores

LOG_FILE = "log.txt"
REPORTS_FOLDER = "workers"
MODULE = "runwright.launch.worker"


def launch(folder: Path, options: LaunchOptions, *, num_threads: int | None, lock: int) -> int:
    """Execute the run in `folder` by workers, starting them again after a failure as often as allowed.

    `lock` is the descriptor of the run's lock, which workers inherit. Returns the exit code.
    """
    reports, before = folder / REPORTS_FOLDER, read_run(folder)
    threads = num_threads or share_of_cores(options.num_processes)
    stops: list[int] = []
    with catch_signals(lambda number, _: stops.append(number)):
        for attempt in range(options.max_restarts + 1):
            with WorkerGroup(
                # -P: a file in the working folder must not replace an installed module
                [sys.executable, "-P", "-m", MODULE, str(folder), str(reports)],
                num_processes=options.num_processes,
                folder=reports,
                environment=worker_environment() | {"OMP_NUM_THREADS": str(threads)},
                inherited=[lock],
            ) as group:
                outcome = supervise(
                    group,
                    stops,
                    timeout_seconds=options.timeout_seconds,
                    grace_seconds=options.grace_seconds,
                    say=partial(_say, folder),
                )
            if outcome.failure:
                _say(folder, outcome.text)
            if not outcome.failure or outcome.is_mistake or stops or attempt == options.max_restarts:
                _settle(folder, outcome, before=before, grace_seconds=options.grace_seconds)
                return outcome.code
            _say(folder, f"restart {attempt + 1} of {options.max_restarts}, from the newest checkpoint")
            record_resume(folder, {})
    raise AssertionError("the last attempt returns")


def _settle(folder: Path, outcome: Outcome, *, before: Mapping[str, Any], grace_seconds: float) -> None:
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
    if outcome.was_too_slow:
        name = signal.Signals(outcome.code - 128).name
        _say(folder, f"killed: not ended {grace_seconds:g} s after {name}; the newest checkpoint stands")


def _set_status(folder: Path, status: str, **fields: str) -> None:
    if read_run(folder)["status"] != status:
        end_journal(folder, status)
    update_status(folder, status, end_time=time.time(), **fields)


def _say(folder: Path, text: str) -> None:
    print(text, file=sys.stderr, flush=True)
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} launcher: {text}\n")
