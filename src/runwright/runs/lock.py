"""One process group at a time works on a run: a lock in its folder that ends with those who hold it.

The kernel's lock on the file counts: it is gone with the last process of the run, however that ended, and
workers inherit it from the process that started them. On network file systems where locks do not reach other
machines, the holder's heartbeat (the file's time) is looked at as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runwright.errors import RunwrightError
from runwright.runs.folder import boot_id

LOCK_FILE = "run.lock"
HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0  # six missed heartbeats of a holder on another machine
PATIENCE_SECONDS = 1.0  # who only looks whether a run is alive, or marks a dead one, is gone by then


class RunBusyError(RunwrightError):
    """Another living process works on the run."""


@contextmanager
def run_lock(folder: Path) -> Iterator[int]:
    """Hold the run until the end of the block; gives the file descriptor, which workers may inherit.

    Raises RunBusyError, naming who has it, where another process is at work on the run.
    """
    file = folder / LOCK_FILE
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if _stays_held(descriptor, file):
            raise RunBusyError(_refusal(folder, _read(descriptor)))
        _write(descriptor, {"host": socket.gethostname(), "pid": os.getpid(), "boot_id": boot_id()})
        stop = threading.Event()
        beating = threading.Thread(target=_beat, args=(descriptor, stop), name="run-lock", daemon=True)
        beating.start()
        try:
            yield descriptor
        finally:
            stop.set()  # before the descriptor is closed: its number may be used again
            beating.join()
            _write(descriptor, {})
    finally:
        os.close(descriptor)


def is_busy(folder: Path) -> bool:
    """Whether a process is at work on the run now."""
    if not (folder / LOCK_FILE).is_file():
        return False
    with held_for_a_moment(folder) as held:
        return not held


@contextmanager
def held_for_a_moment(folder: Path) -> Iterator[bool]:
    """Whether nobody else has the run; if so, nobody gets it before the end of the block.

    False as well where there is no lock yet and none can be made.
    """
    file = folder / LOCK_FILE
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        yield False
        return
    try:
        yield not _is_held(descriptor, file)
    finally:
        os.close(descriptor)


def read_holder(folder: Path) -> dict[str, Any]:
    """Who took the lock last, as `host`, `pid`, `boot_id` and `time`; empty where it was given back."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def lives_here(holder: dict[str, Any]) -> bool:
    """Whether it is a process of this machine that is still there: since this boot, under its own number."""
    if holder.get("host") != socket.gethostname() or holder.get("boot_id") != boot_id():
        return False
    began = _start_of_process(int(holder.get("pid", 0)))
    # A number that was given to another process since then; the clocks have steps of a hundredth of a second.
    return began is not None and began <= float(holder.get("time", began)) + 1


def age_seconds(file: Path) -> float:
    """How long ago the file was written, by the clock of its file system: another machine's may differ."""
    probe = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.probe")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # a folder that may only be read
        now = time.time()
    return now - file.stat().st_mtime


def _stays_held(descriptor: int, file: Path) -> bool:
    """Whether another process holds the file, and is not merely looking."""
    until = time.monotonic() + PATIENCE_SECONDS
    while _is_held(descriptor, file):
        holder = _read(descriptor)
        if lives_here(holder) or _lives_elsewhere(holder, file) or time.monotonic() > until:
            return True
        time.sleep(0.02)
    return False


def _is_held(descriptor: int, file: Path) -> bool:
    """Whether another process holds the file; otherwise this descriptor does from now on."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # some cluster file systems know no locks: what the file says must do
        holder = _read(descriptor)
        is_other = holder.get("pid") != os.getpid()
        return (is_other and lives_here(holder)) or _lives_elsewhere(holder, file)
    return _lives_elsewhere(_read(descriptor), file)


def _lives_elsewhere(holder: dict[str, Any], file: Path) -> bool:
    """Whether a holder on another machine gave a sign of life not long ago."""
    if not holder or holder.get("host") == socket.gethostname():
        return False  # on this machine the lock itself would have said so
    return age_seconds(file) < DEAD_AFTER_SECONDS


def _beat(descriptor: int, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        os.utime(descriptor)


def _refusal(folder: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"
    return (
        f"{folder}: given a run that {who} is working on, expected one that has ended; wait for it, or stop "
        "it (a SIGTERM saves first)"
    )


def _read(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:  # written half by a process that was killed
        return {}
    return holder if isinstance(holder, dict) else {}


def _write(descriptor: int, holder: dict[str, Any]) -> None:
    text = json.dumps({**holder, "time": time.time()} if holder else {}).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text, 0)


def _start_of_process(number: int) -> float | None:
    """When a process of this machine began, in seconds since 1970; None where there is none."""
    import psutil  # deferred: few commands ask

    try:
        process = psutil.Process(number)
        # A zombie has ended; who started it has not looked yet.
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError):
        return None
