"""Detect runs whose process died without recording its end, and mark them as killed or failed.

A process that is killed outright, runs out of memory or goes down with its machine cannot write how it ended:
`run.json` says RUNNING for ever. The run's lock, its holder's process and boot, and its heartbeat tell.
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
from runwright.runs.folder import RUN_FILE, boot_id, find_runs, read_run, update_status
from runwright.runs.lock import (
    DEAD_AFTER_SECONDS,
    LOCK_FILE,
    age_seconds,
    held_for_a_moment,
    lives_here,
    read_holder,
)
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import Journal

UNENDED = ("CREATED", "RUNNING")
TRACEBACK_FILE = "traceback.txt"
ENDED_TAG = "runwright.ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """How a run ended that could not say so itself."""

    folder: Path
    status: str  # KILLED, or FAILED where it left a traceback
    reason: str
    last_sign: float  # of life, in seconds since 1970


def find_dead(output_dir: str | Path = "outputs") -> list[Death]:
    """The runs that died without a word and are not marked yet, oldest first."""
    deaths = (look_at(folder) for folder in find_runs(output_dir))
    return [death for death in deaths if death is not None]


def look_at(folder: Path, record: dict[str, Any] | None = None) -> Death | None:
    """How the run died; None where it lives, or has ended in good order. `record`: its run.json, if read."""
    try:
        record = record or read_run(folder)
        if record.get("status") not in UNENDED:
            return None
        holder = read_holder(folder)
        # The quick answer first: to try the lock is to take it for a moment.
        if lives_here(holder or _maker(record)) or _is_heard_of(folder, holder or record):
            return None
        if not (folder / LOCK_FILE).exists():
            return _describe(folder, record, holder)
        with held_for_a_moment(folder) as held:
            return _describe(folder, record, holder) if held else None
    except (OSError, ValueError):  # being made or removed at this moment, or not ours to read
        return None


def mark(death: Death) -> bool:
    """Write the true status into run.json and the journal; False where the run has come back to life.

    Raises OSError where the folder cannot be written.
    """
    folder = death.folder
    with held_for_a_moment(folder) as held:
        if not held or read_run(folder).get("status") not in UNENDED:
            return False
        if (folder / JOURNAL_FILE).is_file():
            journal = Journal(folder / JOURNAL_FILE)
            journal.tags({ENDED_TAG: death.reason})
            journal.status(death.status, at=death.last_sign)
            journal.close()
        # Last: what was cut off before is done again by the next who looks.
        update_status(folder, death.status, end_time=death.last_sign, reason=death.reason)
    return True


def mark_all(output_dir: str | Path = "outputs") -> list[Death]:
    """Mark every run that died; those that were, oldest first. Folders not ours to write are left out."""
    marked = []
    for death in find_dead(output_dir):
        try:
            if mark(death):
                marked.append(death)
        except (OSError, ValueError):  # another user's, or a full disk: the next one tries again
            continue
    return marked


def marked_runs(output_dir: str | Path) -> Iterator[Path]:
    """The folders of runs that died and were marked so, oldest first."""
    for folder in map(Path.resolve, find_runs(output_dir)):
        with contextlib.suppress(OSError, ValueError):  # being made or removed at this moment
            if read_run(folder).get("reason"):
                yield folder


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


def _maker(record: dict[str, Any]) -> dict[str, Any]:
    """Who made the folder, in the words of a lock: it takes the lock a moment later."""
    return {**record, "time": record.get("start_time", 0.0)}


def _is_heard_of(folder: Path, who: dict[str, Any]) -> bool:
    """Whether a run on another machine gave a sign of life not long ago."""
    if who.get("host") == socket.gethostname() and who.get("boot_id") in (boot_id(), None):
        return False  # on this machine its process and its lock say more
    return any(age_seconds(file) < DEAD_AFTER_SECONDS for file in _signs(folder))


def _signs(folder: Path) -> list[Path]:
    """What a living run writes to; the heartbeat renews the lock."""
    return [file for name in (LOCK_FILE, JOURNAL_FILE, RUN_FILE) if (file := folder / name).is_file()]


def _describe(folder: Path, record: dict[str, Any], holder: dict[str, Any]) -> Death:
    last_sign = max(file.stat().st_mtime for file in _signs(folder))
    traceback = folder / TRACEBACK_FILE
    began = float(holder.get("time", record.get("start_time", 0.0)))
    # Who gives the lock back ended by itself: on an error, before or after the run could write of it.
    gave_back = (folder / LOCK_FILE).is_file() and not holder
    failed = gave_back or (traceback.is_file() and traceback.stat().st_mtime >= began)
    return Death(
        folder=folder,
        status="FAILED" if failed else "KILLED",
        reason=_reason(record, holder, last_sign=last_sign, failed=failed),
        last_sign=last_sign,
    )


def _reason(record: dict[str, Any], holder: dict[str, Any], *, last_sign: float, failed: bool) -> str:
    who = holder or record
    process, host = f"process {who.get('pid', '?')}", who.get("host", "an unknown machine")
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last_sign))
    if failed:
        when = "before it began" if record["status"] == "CREATED" else "and could not write it down"
        return (
            f"{process} on {host} failed {when}; what it said is in its output, log.txt or {TRACEBACK_FILE}"
        )
    if host != socket.gethostname():
        return f"{process} on {host} gave its last sign of life at {moment}"
    if who.get("boot_id") not in (boot_id(), None):
        return f"{host} was restarted while {process} was at work; last sign of life at {moment}"
    what = "was gone before it began" if record["status"] == "CREATED" else "is gone without a word"
    return f"{process} on {host} {what} (killed, or out of memory); last sign of life at {moment}"
