"""A lock in a run's folder: one process group at a time works on a run, and the lock ends with it.

The kernel's lock on the file counts: it is gone with the last process of the run, however that ended, and
workers inherit it from the process that started them. Where there are no locks, or none that reach other
machines, as on some network file systems, the holder's heartbeat (the file's time) counts.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runwright.errors import RunwrightError
from runwright.runs.folder import this_process

LOCK_FILE = "run.lock"
HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0  # six missed heartbeats of a holder on another machine
PATIENCE_SECONDS = 1.0  # who only looks whether a run is alive, or marks a dead one, is gone by then


class RunBusyError(RunwrightError):
    """Another living process works on the run."""


@contextmanager
def run_lock(folder: Path) -> Iterator[int]:
    """Hold the run until the end of the block; gives the file descriptor, which workers may inherit.

    Raises RunBusyError, naming the lock holder, where another process works on the run.
    """
    descriptor = _open(folder)
    try:
        _wait(folder, descriptor)
        _write(descriptor, this_process())
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                os.utime(descriptor)

        heartbeat = threading.Thread(target=beat, name="run-lock", daemon=True)
        heartbeat.start()
        try:
            yield descriptor
        finally:
            stop.set()  # before the descriptor is closed: its number may be used again
            heartbeat.join()
            _write(descriptor, {})
    finally:
        os.close(descriptor)


def is_busy(folder: Path) -> bool:
    """Return True if a process works on the run now."""
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
        descriptor = _open(folder)
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


def _open(folder: Path) -> int:
    return os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _wait(folder: Path, descriptor: int) -> None:
    """Take the lock, after who merely looks; raises RunBusyError where a living process holds it."""
    until = time.monotonic() + PATIENCE_SECONDS
    while _is_held(folder, descriptor):
        if time.monotonic() > until:
            holder = read_holder(folder)
            who = f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"
            raise RunBusyError(
                f"{folder}: given a run that {who} is working on, expected one that has ended; wait for it, "
                "or stop it (a SIGTERM saves first)"
            )
        time.sleep(0.02)


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
