"""Detect runs whose process died without recording its end, and mark them as killed or failed.

A process that is killed outright, runs out of memory or goes down with its machine cannot write how it ended:
`run.json` says RUNNING for ever. The run's lock and its heartbeat tell.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.config.redaction import Redactor
from runwright.runs import lock
from runwright.runs.folder import RUN_FILE, find_runs, read_run, update_status
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import Journal, last_status

UNENDED = ("CREATED", "RUNNING")
TRACEBACK_FILE = "traceback.txt"
ENDED_TAG = "runwright.ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """The end of a run whose process could not record it."""

    folder: Path
    status: str  # KILLED, or FAILED where it left a traceback
    reason: str
    last_sign: float  # of life, in seconds since 1970


def find_dead(output_dir: str | Path = "outputs") -> list[Death]:
    """Runs that died without recording it and are not marked yet, oldest first."""
    return [death for folder in find_runs(output_dir) if (death := look_at(folder)) is not None]


def look_at(folder: Path, record: dict[str, Any] | None = None) -> Death | None:
    """The death of a run; None where it lives, or has recorded its end. `record`: its run.json, if read."""
    try:
        record = record or read_run(folder)
        if record.get("status") not in UNENDED:
            return None
        holder = lock.read_holder(folder)
        if not (folder / lock.LOCK_FILE).exists():  # who made the folder takes its lock a moment later
            is_old = lock.age_seconds(folder / RUN_FILE) >= lock.DEAD_AFTER_SECONDS
            return _describe(folder, record, holder) if is_old else None
        with lock.held_for_a_moment(folder) as held:
            return _describe(folder, record, holder) if held else None
    except (OSError, ValueError):  # being made or removed at this moment, or not ours to read
        return None


def mark(death: Death) -> bool:
    """Write the true status into run.json and the journal; False where the run has come back to life.

    Raises OSError where the folder cannot be written.
    """
    folder = death.folder
    with lock.held_for_a_moment(folder) as held:
        if not held or read_run(folder).get("status") not in UNENDED:
            return False
        end_journal(folder, death.status, at=death.last_sign, reason=death.reason)
        # Last: if this process is killed before it, the status stays RUNNING and the next start repeats all.
        update_status(folder, death.status, end_time=death.last_sign, reason=death.reason)
    return True


def mark_all(output_dir: str | Path = "outputs") -> list[Death]:
    """Mark every run that died; those marked, oldest first. Folders not ours to write are skipped."""
    marked = []
    for death in find_dead(output_dir):
        with contextlib.suppress(OSError, ValueError):  # another user's, or a full disk
            if mark(death):
                marked.append(death)
    return marked


def complete_journal(folder: Path) -> None:
    """Write the end of a run into its journal, where it was killed between its status and that."""
    journal = folder / JOURNAL_FILE
    if not journal.is_file() or last_status(journal) == read_run(folder)["status"]:
        return
    with lock.held_for_a_moment(folder) as held:
        record = read_run(folder)
        if held and record["status"] not in UNENDED and last_status(journal) != record["status"]:
            end_journal(
                folder, record["status"], at=record.get("end_time"), reason=record.get("reason") or ""
            )


def end_journal(folder: Path, status: str, *, at: float | None = None, reason: str = "") -> None:
    """Write the final status, and a reason for it, into the journal of a run that cannot any more."""
    if (folder / JOURNAL_FILE).is_file():
        journal = Journal(folder / JOURNAL_FILE)
        if reason:
            journal.record(tags={ENDED_TAG: reason})
        journal.status(status, at=at)
        journal.close()


@contextmanager
def noting_the_end(folder: Path) -> Iterator[None]:
    """Record an error that ends the run before it can do so itself: while it is built, or imports.

    A run that died and that refuses to resume stays as it was.
    """
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError, ValueError):
            record = read_run(folder)
            is_ours = record.get("status") == "CREATED" or record.get("pid") == os.getpid()
            if is_ours and record.get("status") in UNENDED:
                status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
                text = Redactor().text(f"{type(error).__name__}: {error}")
                update_status(folder, status, end_time=time.time(), error=text)
        raise


def _describe(folder: Path, record: dict[str, Any], holder: dict[str, Any]) -> Death:
    process = holder or record
    host, is_new = process.get("host", "an unknown machine"), record["status"] == "CREATED"
    name = f"process {process.get('pid', '?')}"
    # Files that a living run writes to; the heartbeat renews the lock.
    files = [folder / name for name in (lock.LOCK_FILE, JOURNAL_FILE, RUN_FILE)]
    last_sign = max(file.stat().st_mtime for file in files if file.is_file())
    sign = f"last sign of life at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(last_sign))}"
    traceback = folder / TRACEBACK_FILE
    began = float(holder.get("time", record.get("start_time", 0.0)))
    # A lock file without a holder: the process released it, so an error ended it and not a kill.
    gave_back = (folder / lock.LOCK_FILE).is_file() and not holder
    failed = gave_back or (traceback.is_file() and traceback.stat().st_mtime >= began)
    if failed:
        when = "before it began" if is_new else "and could not write it down"
        reason = f"{name} on {host} failed {when}; see its output, log.txt or {TRACEBACK_FILE}"
    elif host != socket.gethostname():
        reason = f"{name} on {host} gave its {sign}"
    elif not lock.is_here(process):
        reason = f"{host} was restarted while {name} was at work; {sign}"
    else:
        how = "was gone before it began" if is_new else "is gone without a word"
        reason = f"{name} on {host} {how} (killed, or out of memory); {sign}"
    status = "FAILED" if failed else "KILLED"
    return Death(folder=folder, status=status, reason=reason, last_sign=last_sign)
