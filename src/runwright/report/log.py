"""The log of a run, and the standard streams of a program: open, UTF-8 to files, no error without a terminal.

Messages and warnings of a run go to the terminal, debug messages to `log.txt` too.
"""

import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from runwright.errors import plain

FILE_NAME = "log.txt"
OURS = "runwright"
# They write to standard error by themselves, through the progress bars and past log.txt.
LIBRARIES = ("transformers", "datasets", "huggingface_hub", "accelerate", "mlflow", "alembic", "evaluate")

_FILE_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


@contextmanager
def run_logging(
    folder: Path, *, first: bool, redact: Callable[[str], str] = str, level: str = "info"
) -> Iterator[None]:
    """Log to the terminal and `folder`/log.txt until the end of the block, then as before.

    The first process shows our messages from `level` on and everyone's warnings, and writes `log.txt` with
    ours from DEBUG on; the others show errors only. `redact` is applied to each line before it is written.
    """
    importlib.import_module("transformers.utils.logging")  # it sets up its own log when it is imported
    root, ours = logging.getLogger(), logging.getLogger(OURS)
    with ExitStack() as stack:
        handlers = [_terminal(level.upper() if first else "ERROR", redact)]
        if first:
            file = logging.FileHandler(folder / FILE_NAME, encoding="utf-8", errors="backslashreplace")
            file.setFormatter(_Redacting(redact, _FILE_FORMAT))
            handlers.append(file)
        for handler in handlers:
            handler.addFilter(lambda log: log.levelno >= logging.WARNING or log.name.split(".")[0] == OURS)
            root.addHandler(handler)
            stack.callback(handler.close)
            stack.callback(root.removeHandler, handler)
        # A line that a full disk does not take is on the terminal; a traceback for each would hide it.
        stack.callback(setattr, logging, "raiseExceptions", logging.raiseExceptions)
        logging.raiseExceptions = False
        stack.callback(ours.setLevel, ours.level)
        ours.setLevel(logging.DEBUG)
        for logger in map(logging.getLogger, LIBRARIES):
            stack.callback(setattr, logger, "handlers", logger.handlers)
            logger.handlers = [one for one in logger.handlers if type(one) is not logging.StreamHandler]
            stack.callback(setattr, logger, "propagate", logger.propagate)
            logger.propagate = True
        # logging keeps the function it replaced only while it captures.
        stack.callback(logging.captureWarnings, getattr(logging, "_warnings_showwarning", None) is not None)
        logging.captureWarnings(capture=True)
        yield


class _Redacting(logging.Formatter):
    """Lines with secrets masked and control characters as code, tracebacks included."""

    def __init__(self, redact: Callable[[str], str], form: str, datefmt: str | None = None) -> None:
        super().__init__(form, datefmt)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return plain(self._redact(super().format(record)))


def _terminal(level: str, redact: Callable[[str], str]) -> logging.Handler:
    from rich.logging import RichHandler  # deferred: the command line's light path never needs it

    from runwright.report.terminal import console

    shared = console()
    if shared.is_terminal:
        handler: logging.Handler = RichHandler(
            console=shared, show_path=False, markup=False, log_time_format="%H:%M:%S", rich_tracebacks=False
        )
        handler.setFormatter(_Redacting(redact, "%(message)s"))
    else:  # rich would break long lines at 80 characters
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Redacting(redact, "%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    handler.setLevel(level)
    return handler


class _Lasting(io.FileIO):
    """A standard stream that drops what a closed terminal, or any closed reader of errors, cannot take."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            number, is_closed = self.fileno(), error.errno == errno.EIO
            if number == 2 and not (is_closed or error.errno == errno.EPIPE):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)  # for what else writes there too
            os.dup2(nowhere, number)
            os.close(nowhere)
            if number == 1 and error.errno == errno.EPIPE:
                raise SystemExit(141) from None  # as SIGPIPE ends a program: `… | head`
            if number == 1 and not is_closed:
                raise  # once: not again when the process ends
            return len(data)


def guard_streams() -> None:
    """Replace the standard streams of this process by `_Lasting` ones; closed ones lead to /dev/null."""
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
