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
from runwright.run_folder import boot_id

LOCK_FILE = "run.lock"
HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0  # six missed heartbeats of a holder on another machine


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
        if _is_held(descriptor, file):
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
    file = folder / LOCK_FILE
    if not file.is_file():
        return False
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _is_held(descriptor, file)
    finally:
        os.close(descriptor)


def _is_held(descriptor: int, file: Path) -> bool:
    """Whether another process holds the file; otherwise this descriptor does from now on."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # some cluster file systems know no locks: what the file says must do
        return _lives_here(_read(descriptor)) or _lives_elsewhere(_read(descriptor), file)
    return _lives_elsewhere(_read(descriptor), file)


def _lives_here(holder: dict[str, Any]) -> bool:
    """Whether the holder is a process of this machine since this boot."""
    here = holder.get("host") == socket.gethostname() and holder.get("boot_id") == boot_id()
    return here and holder["pid"] != os.getpid() and Path(f"/proc/{holder['pid']}").exists()


def _lives_elsewhere(holder: dict[str, Any], file: Path) -> bool:
    """Whether a holder on another machine gave a sign of life not long ago."""
    if not holder or holder.get("host") == socket.gethostname():
        return False  # on this machine the lock itself would have said so
    probe = file.with_name(f".{file.name}.{os.getpid()}.probe")
    probe.touch()  # compared with the file system's clock: that of the other machine may differ from ours
    now = probe.stat().st_mtime
    probe.unlink()
    return now - file.stat().st_mtime < DEAD_AFTER_SECONDS


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
