"""The command `runwright train …` in a forked process that may kill itself in the midst of a save.

Run by `runpy` with ARGUMENTS in its globals. `kill_at` counts the file operations of all saves of this
process from 0; -1 is never. How many there were is written to `report` at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runwright.cli.main import main as runwright
from runwright.trainer import checkpoint

FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


class Operations:
    """Counts the file operations of the thread that saves."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.count = 0

    def reach(self) -> None:
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    def on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and threading.current_thread().name == "checkpoint":
            self.reach()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if threading.current_thread().name == "checkpoint":
                self.reach()
            return function(*args)

        return call


def main(*, arguments: list[str], output: str, report: str, kill_at: int) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    operations = Operations(kill_at)
    os.fsync = operations.before(os.fsync)
    checkpoint.save_file = operations.before(checkpoint.save_file)
    sys.addaudithook(operations.on_event)
    code = runwright(arguments)
    Path(report).write_text(str(operations.count))
    sys.exit(code)


if __name__ == "__main__":
    main(**globals()["ARGUMENTS"])
