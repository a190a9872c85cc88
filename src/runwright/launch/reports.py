"""What a worker leaves behind when it fails, and which of several failures came first.

When one rank dies the others fail as well, with an error about a lost connection. Each writes down its own
error before it ends, with the time and whether it looks like an echo, so that the first one can be shown.
"""

from __future__ import annotations

import json
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from runwright.config.redaction import redact
from runwright.errors import ConfigError, RunwrightError
from runwright.errors import report as report_mistakes
from runwright.store import write_json

Kind = Literal["mistake", "error", "timeout", "echo"]

# Words of gloo (tcp/pair.cc, unbound_buffer.cc), torch's stores and NCCL about a rank that is gone or silent.
TIMEOUT_WORDS = ("Timed out waiting", "timed out after", "operation timeout", "wait timeout after")
ECHO_WORDS = ("Connection closed by peer", "Connection reset", "Broken pipe", "NCCL error", "recvValue fail")
TAIL_LINES = 20
FATAL_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An error that ended a worker, written by itself."""

    time: float
    kind: Kind
    exit_code: int
    message: str
    trace: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How one worker ended."""

    rank: int
    pid: int
    code: int  # as subprocess gives it: negative for a signal
    time: float
    report: Report | None
    hung: bool = False  # it gave no sign of life
    was_killed: bool = False  # by the launcher, because of another


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a group of workers failed."""

    code: int  # exit code of the whole
    summary: str  # one line
    text: str  # everything to show, the first traceback included
    is_mistake: bool  # the user's to mend: the same would come again


def error_file(folder: Path, rank: int) -> Path:
    """Where a worker reports its error."""
    return folder / f"rank-{rank}.error.json"


def log_file(folder: Path, rank: int) -> Path:
    """Where the output of a worker that is not shown goes."""
    return folder / f"rank-{rank}.log"


def stacks_file(folder: Path, rank: int) -> Path:
    """Where a worker dumps the stacks of its threads."""
    return folder / f"rank-{rank}.stacks.txt"


def write_report(folder: Path, rank: int, error: BaseException, *, exit_code: int) -> None:
    """Write down the error that ends this worker."""
    message = report_mistakes(error) if isinstance(error, ConfigError) else str(error)
    report = Report(
        time=time.time(),
        kind=_kind(error),
        exit_code=exit_code,
        message=redact(message),
        trace=redact("".join(traceback.format_exception(error))),
    )
    write_json(error_file(folder, rank), asdict(report))


def read_report(folder: Path, rank: int) -> Report | None:
    """What a worker wrote, if it did."""
    try:
        return Report(**json.loads(error_file(folder, rank).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def first_failure(ended: Sequence[Ended], folder: Path, *, num_ranks: int, timeout_seconds: float) -> Failure:
    """The failure that all others followed from."""
    first = min(ended, key=_precedence)
    who = f"rank {first.rank} of {num_ranks} (process {first.pid})"
    if first.hung or (first.report and first.report.kind == "timeout"):
        return _hang(ended, folder, timeout_seconds=timeout_seconds, num_ranks=num_ranks)
    if first.report is None:
        summary = f"{who} {_how(first.code)}"
        rest = _tail(stacks_file(folder, first.rank)) if -first.code in FATAL_SIGNALS else []
        text = "\n".join([summary, *rest, *_tail(log_file(folder, first.rank))])
        return Failure(code=_exit_code(first.code), summary=summary, text=text, is_mistake=False)
    report, first_line = first.report, first.report.message.partition("\n")[0]
    summary = f"{who} failed: {first_line}"
    if report.kind == "mistake":
        return Failure(code=report.exit_code, summary=summary, text=report.message, is_mistake=True)
    text = f"{who} failed:\n{report.trace.rstrip()}"
    return Failure(code=report.exit_code, summary=summary, text=text, is_mistake=False)


def _kind(error: BaseException) -> Kind:
    if isinstance(error, RunwrightError):
        return "mistake"
    text = str(error)
    if any(words in text for words in TIMEOUT_WORDS):
        return "timeout"
    return "echo" if any(words in text for words in ECHO_WORDS) else "error"


def _precedence(ended: Ended) -> tuple[int, float]:
    """Silent ranks first, then own errors and deaths by time, then waiting in vain, then echoes."""
    if ended.hung:
        return 0, ended.time
    if ended.report is None:
        return (9 if ended.was_killed or ended.code == 0 else 1), ended.time
    return {"mistake": 1, "error": 1, "timeout": 2, "echo": 3}[ended.report.kind], ended.report.time


def _hang(ended: Sequence[Ended], folder: Path, *, timeout_seconds: float, num_ranks: int) -> Failure:
    silent = [str(each.rank) for each in ended if each.hung]
    limit = f"for {timeout_seconds:g} s (launch.timeout_seconds)"
    if silent:
        summary = f"rank {', '.join(silent)} of {num_ranks} gave no sign of life {limit}"
    else:
        summary = f"the {num_ranks} ranks waited for one another {limit}"
    lines = [f"{summary}; what each was doing:"]
    for each in sorted(ended, key=lambda each: each.rank):
        stacks = _tail(stacks_file(folder, each.rank), limit=None)
        own = each.report.trace.rstrip().splitlines() if each.report else []
        lines += [f"--- rank {each.rank} (process {each.pid})", *(stacks or own or ["it could not say"])]
    return Failure(code=1, summary=summary, text="\n".join(lines), is_mistake=False)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and no error of its own"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = "; often the machine ran out of memory (see dmesg)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code  # as a shell says it


def _tail(file: Path, *, limit: int | None = TAIL_LINES) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    except OSError:
        return []
    return lines if limit is None else lines[-limit:]
