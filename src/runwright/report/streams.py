"""Standard streams of a program: open, UTF-8 to files, and no error after their terminal was closed."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO


class _Lasting(io.FileIO):
    """A standard stream that drops what a closed terminal, or any closed reader of errors, cannot take."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            number = self.fileno()
            if error.errno != errno.EIO and not (number == 2 and error.errno == errno.EPIPE):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)  # for what else writes there too
            os.dup2(nowhere, number)
            os.close(nowhere)
            return len(data)


def guard_streams() -> None:
    """Put such streams in the place of this process's own; closed ones are opened to nowhere."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False, encoding="utf-8")
    sys.stdout, sys.stderr = _lasting(1, sys.stdout), _lasting(2, sys.stderr)


def _lasting(number: int, before: TextIO | None) -> io.TextIOWrapper:
    raw = _Lasting(number, "w", closefd=False)
    is_terminal = raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before and is_terminal else "utf-8",
        errors="backslashreplace" if number == 2 else "replace" if is_terminal else "surrogateescape",
        line_buffering=is_terminal or number == 2,
        write_through=number == 2,
    )
