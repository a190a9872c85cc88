"""The lock of a run, and runs whose process died without recording its end: marked as killed or failed.

One process group at a time works on a run. The kernel's lock on the file counts: it is gone with the last
process of the run, however that ended, and workers inherit it from the process that started them. Where there
are no locks, or none that reach other machines, as on some network file systems, the holder's heartbeat (the
file's time) counts.

A process that is killed outright, runs out of memory or goes down with its machine cannot write how it ended:
`run.json` says RUNNING for ever. The run's lock and its heartbeat tell.
"""

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runwright.config.redaction import Redactor
from runwright.errors import RunwrightError
from runwright.runs.folder import RUN_FILE, find_runs, read_run, this_process, update_status
from runwright.store import repeating
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import Journal, last_status

LOCK_FILE = "run.lock"
LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0  # six missed heartbeats of a holder on another machine
PATIENCE_SECONDS = 1.0  # who only looks whether a run is alive, or marks a dead one, is gone by then
UNENDED = ("CREATED", "RUNNING")
TRACEBACK_FILE = "traceback.txt"
ENDED_TAG = "runwright.ended"


class RunBusyError(RunwrightError):
    """Another living process works on the run."""


@contextmanager
def run_lock(folder: Path) -> Iterator[int]:
    """Hold the run until the end of the block; gives the file descriptor, which workers may inherit.

    Raises RunBusyError, naming the lock holder, where another process works on the run.
    """
    descriptor = os.open(folder / LOCK_FILE, LOCK_FLAGS, 0o644)
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while _is_held(folder, descriptor):
            if time.monotonic() > until:
                holder = read_holder(folder)
                who = f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"
                raise RunBusyError(
                    f"{folder}: given a run that {who} is working on, expected one that has ended; wait for "
                    "it, or stop it (a SIGTERM saves first)"
                )
            time.sleep(0.02)
        _write(descriptor, this_process())
        beat = partial(os.utime, descriptor)
        try:
            # It ends before the descriptor is closed, whose number may be used again.
            with repeating(beat, HEARTBEAT_SECONDS, name="run-lock"):
                yield descriptor
        finally:
            _write(descriptor, {})
    finally:
        os.close(descriptor)


def is_busy(folder: Path) -> bool:
    if not (folder / LOCK_FILE).is_file():
        return False
    with held_for_a_moment(folder) as held:
        return not held


@contextmanager
def held_for_a_moment(folder: Path) -> Iterator[bool]:
    """True if nobody else holds the run; then nobody gets it before the end of the block.

    False as well where there is no lock yet and none can be made.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, LOCK_FLAGS, 0o644)
    except OSError:
        yield False
        return
    try:
        yield not _is_held(folder, descriptor)
    finally:
        os.close(descriptor)


def read_holder(folder: Path) -> dict[str, Any]:
    """The last holder of the lock, as `host`, `pid`, `boot_id` and `time`; empty where it was given back."""
    try:
        holder = json.loads((folder / LOCK_FILE).read_bytes() or b"{}")
    except (OSError, ValueError):  # none yet, or written half by a process that was killed
        return {}
    return holder if isinstance(holder, dict) else {}


def is_here(process: dict[str, Any]) -> bool:
    """Return True if a process that a run recorded was one of this boot of this machine."""
    return all(process.get(name) == value for name, value in this_process().items() if name != "pid")


def age_seconds(file: Path) -> float:
    """Seconds since the file was written, by the clock of its file system: another machine's may differ."""
    probe = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.probe")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # a folder that may only be read
        now = time.time()
    return now - file.stat().st_mtime


def _is_held(folder: Path, descriptor: int) -> bool:
    """Return True if another process holds the lock; otherwise this descriptor does from now on."""
    has_locks = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # some cluster file systems have no locks: the heartbeat must do
        has_locks = False
    holder = read_holder(folder)
    if not holder or (has_locks and is_here(holder)):
        return False  # on this machine the lock itself would have said so
    return age_seconds(folder / LOCK_FILE) < DEAD_AFTER_SECONDS


def _write(descriptor: int, holder: dict[str, Any]) -> None:
    text = json.dumps({**holder, "time": time.time()} if holder else {}).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text, 0)


# --- runs that died ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """The end of a run whose process could not record it."""

    folder: Path
    status: str  # KILLED, or FAILED where it left a traceback
    reason: str
    last_sign: float  # of life, in seconds since 1970


def find_dead(output_dir: str | Path = "outputs") -> list[Death]:
    """Runs that died without recording it and are not marked yet, oldest first."""
    return [death for folder in find_runs(output_dir) if (death := look_at(folder))]


def look_at(folder: Path, record: dict[str, Any] | None = None) -> Death | None:
    """The death of a run; None where it lives, or has recorded its end. `record`: its run.json, if read."""
    try:
        record = record or read_run(folder)
        if record.get("status") not in UNENDED:
            return None
        holder = read_holder(folder)
        if not (folder / LOCK_FILE).exists():  # who made the folder takes its lock a moment later
            is_old = age_seconds(folder / RUN_FILE) >= DEAD_AFTER_SECONDS
            return _describe(folder, record, holder) if is_old else None
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
        end_journal(folder, death.status, at=death.last_sign, reason=death.reason)
        # Last: if this process is killed before it, the status stays RUNNING and the next start repeats all.
        update_status(folder, death.status, end_time=death.last_sign, reason=death.reason)
    return True


def mark_all(output_dir: str | Path = "outputs") -> list[Death]:
    """Mark every run that died; those marked, oldest first. Folders not ours to write are skipped."""
    marked = []
    for death in find_dead(output_dir):
        with contextlib.suppress(OSError, ValueError):  # another user's, or a full disk
            marked += [death] if mark(death) else []
    return marked


def complete_journal(folder: Path) -> None:
    """Write the end of a run into its journal, where it was killed between its status and that."""
    journal = folder / JOURNAL_FILE
    if not journal.is_file() or last_status(journal) == read_run(folder)["status"]:
        return
    with held_for_a_moment(folder) as held:
        record = read_run(folder)
        if held and record["status"] not in UNENDED and last_status(journal) != record["status"]:
            reason = record.get("reason") or ""
            end_journal(folder, record["status"], at=record.get("end_time"), reason=reason)


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
    name = f"process {process.get('pid', '?')} on {process.get('host', 'an unknown machine')}"
    # Files that a living run writes to; the heartbeat renews the lock's time.
    files = [folder / name for name in (LOCK_FILE, JOURNAL_FILE, RUN_FILE)]
    last_sign = max(file.stat().st_mtime for file in files if file.is_file())
    traceback = folder / TRACEBACK_FILE
    began = float(holder.get("time", record.get("start_time", 0.0)))
    # A lock file without a holder: the process released it, so an error ended it and not a kill.
    gave_back = (folder / LOCK_FILE).is_file() and not holder
    if failed := gave_back or (traceback.is_file() and traceback.stat().st_mtime >= began):
        reason = f"{name} failed; see its output, log.txt or {TRACEBACK_FILE}"
    else:
        sign = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last_sign))
        reason = f"{name} is gone (killed, out of memory, restarted or cut off); last sign of life {sign}"
    status = "FAILED" if failed else "KILLED"
    return Death(folder=folder, status=status, reason=reason, last_sign=last_sign)
