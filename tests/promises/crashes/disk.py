"""Saves where there is not enough room: under a limit of the size of a file, or on a small file system.

Run by `runpy` in a process of its own, with ARGUMENTS in its globals; what happened is written to `report`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import logging
import os
import resource
from pathlib import Path
from typing import Any

import torch

from runwright.trainer.checkpoint import CheckpointStore, Snapshot

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
DISK_BYTES = 1 << 20
SIZE = 25_000  # floats: 100 kB of weights, as much of optimizer


def snapshot(step: int) -> Snapshot:
    return Snapshot(
        step=step,
        weights={"a": torch.full((SIZE,), float(step))},
        optimizer={"a|exp_avg": torch.full((SIZE,), step / 2)},
        state={"training": {"step": step}},
    )


def limit_file_size(limit: int) -> None:
    """No file may grow beyond so many bytes; -1 takes the limit away."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def mount_small(folder: Path, size: int) -> bool:
    """Put a file system of so many bytes there that only this process sees; False where that is forbidden."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    flags = CLONE_NEWNS if os.geteuid() == 0 else CLONE_NEWNS | CLONE_NEWUSER
    if libc.unshare(flags) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        return False
    return libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()) == 0


def is_whole(store: CheckpointStore, step: int) -> bool:
    """Whether the newest checkpoint is the one of this step, in all its parts."""
    found = store.load_newest()
    if found is None or found[1].step != step:
        return False
    loaded, expected = found[1], snapshot(step)
    return (
        torch.equal(loaded.weights["a"], expected.weights["a"])
        and torch.equal(loaded.optimizer["a|exp_avg"], expected.optimizer["a|exp_avg"])
        and loaded.state == expected.state
    )


def save(store: CheckpointStore, step: int) -> str | None:
    store.save(snapshot(step))
    failure = store.wait()
    return None if failure is None else str(failure)


def main(*, folder: str, report: str, kind: str, size: int) -> None:
    torch.set_num_threads(1)
    logging.disable()
    place = Path(folder)
    place.mkdir()
    if kind == "disk" and not mount_small(place, DISK_BYTES):
        Path(report).write_text(json.dumps({"skipped": "no file system can be mounted here"}))
        return
    store = CheckpointStore(place / "checkpoints", keep=1, identity={})
    found: dict[str, Any] = {"first": save(store, 1)}
    ballast = place / "ballast"
    if kind == "disk":  # leaves `size` bytes
        free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
        ballast.write_bytes(bytes(free - size))
    else:
        limit_file_size(size)
    found["failure"] = save(store, 2)
    found["old is whole"] = is_whole(store, 1)
    found["left over"] = [entry.name for entry in store.folder.iterdir()]
    found["again"] = save(store, 3)  # the next interval tries again
    if kind == "disk":
        ballast.unlink()
    else:
        limit_file_size(-1)
    found["with room"] = save(store, 4)
    found["new is whole"] = is_whole(store, 4)
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main(**globals()["ARGUMENTS"])
