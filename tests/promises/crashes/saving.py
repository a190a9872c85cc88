"""The same save in many processes, each of which ends without any clean-up at another file operation.

Run by `runpy` in a process of its own, with ARGUMENTS in its globals. The folder then holds `crash--1` after
a whole save, `crash-0` after one that ended before its first file operation, `crash-1`, and so on; the
operations and the exit codes are in its report.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from runwright.trainer import checkpoint
from runwright.trainer.checkpoint import CheckpointStore, Snapshot

CRASHED = 9
FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def snapshot(step: int, *, size: int = 64) -> Snapshot:
    """Weights, optimizer and state that all say which step they are of."""
    return Snapshot(
        step=step,
        weights={"a": torch.full((size,), float(step)), "b": torch.full((3,), float(step))},
        optimizer={"a|exp_avg": torch.full((size,), step / 2)},
        state={"training": {"step": step}},
    )


class Operations:
    """Counts the file operations of the writing thread and ends the process before a chosen one."""

    def __init__(self, folder: Path, crash_at: int) -> None:
        self.folder = str(folder)
        self.crash_at = crash_at
        self.names: list[str] = []

    def reach(self, name: str, tear: Callable[[], Any] = lambda: None) -> None:
        if len(self.names) == self.crash_at:
            self.crash_at = -1  # what tearing does is not counted
            tear()
            os._exit(CRASHED)
        self.names.append(name)

    def on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in FILE_EVENTS or threading.current_thread().name != "checkpoint":
            return
        path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes | Path) else ""
        if path.startswith(self.folder) or not path.startswith(
            "/"
        ):  # relative ones: of a folder that is open
            self.reach(f"{event} {path.removeprefix(self.folder)}")

    def around(self, function: Callable[..., Any], place: int) -> Callable[..., Any]:
        """The function with a point before it and one at which its file is half written."""

        def call(*args: Any) -> None:
            def tear() -> None:
                function(*args)
                os.truncate(args[place], args[place].stat().st_size // 2)

            name = f"{function.__name__} {args[place].name}"
            self.reach(name)
            self.reach(f"half of {name}", tear)
            function(*args)

        return call


def save(folder: Path, *, step: int, keep: int, protected: int | None, crash_at: int) -> list[str]:
    """One save; what its file operations were, if it comes to its end."""
    torch.set_num_threads(1)
    store = CheckpointStore(folder, keep=keep, identity={})
    store.protected_step = protected
    operations = Operations(folder, crash_at)
    real_sync = os.fsync

    def sync(descriptor: int) -> None:
        operations.reach("fsync")
        real_sync(descriptor)

    os.fsync = sync
    checkpoint.save_file = operations.around(checkpoint.save_file, 1)
    checkpoint.write_json = operations.around(checkpoint.write_json, 0)
    sys.addaudithook(operations.on_event)
    store.save(snapshot(step))
    failure = store.wait()
    assert failure is None, failure
    return operations.names


def save_in_fork(template: Path, folder: Path, names: Path, **options: Any) -> int:
    """One save in a process of its own; its exit code."""
    if template.exists():
        shutil.copytree(template, folder)
    pid = os.fork()  # before anything is computed here: torch's threads do not survive a fork
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        names.write_text(json.dumps(save(folder, **options)))
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as the parent's copy
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(*, folder: str, **options: Any) -> None:
    root = Path(folder)
    template, names = root / "template", root / "names.json"
    codes = [save_in_fork(template, root / "crash--1", names, crash_at=-1, **options)]
    operations = json.loads(names.read_text())
    codes += [
        save_in_fork(template, root / f"crash-{place}", names, crash_at=place, **options)
        for place in range(len(operations))
    ]
    (root / "report.json").write_text(json.dumps({"operations": operations, "codes": codes}))


if __name__ == "__main__":
    main(**globals()["ARGUMENTS"])
