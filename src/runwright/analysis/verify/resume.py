"""Resume: a run that is killed and resumed is the same run, shown with real processes and real kills."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runwright.analysis.steps import LOSS, compare
from runwright.analysis.verify.parity import BITS, Finding, judge
from runwright.config.permissions import worker_environment
from runwright.runs.folder import CONFIG_FILE, create
from runwright.runs.lock import is_busy
from runwright.tracker.journal import FILE_NAME, read

CHECK, NAME = "resume", "verify"
SAVE_EVERY, EVALUATE_EVERY = 3, 7  # steps; no multiples of each other, so that every order of events comes up
TRAINER = dict.fromkeys(
    ("max_epochs", "max_minutes", "evaluate_every_epochs", "save_every_epochs", "early_stopping_patience")
) | {
    "log_every_steps": 1,
    "evaluate_every_steps": EVALUATE_EVERY,
    "save_every_steps": SAVE_EVERY,
    "keep_checkpoints": 2,
}
TRACKER = {"_target_": "runwright.tracker.console.JournalTracker", "system_every_seconds": None}
POLL_SECONDS = 0.002
OUTPUT_FILE = "output.txt"
TAIL_LINES = 12
ADVICE = (
    "A resumed run is not the same run: something that a later step depends on is in no checkpoint (a "
    "counter, a cache or random numbers of the model or the task), or an operation is not "
    "deterministic{cuda}. The first difference is named above; scripts/compare_runs.py shows it again: "
    "{folders}"
)
CUDA = "; on a GPU set trainer.deterministic=true"


def shorten(
    config: Mapping[str, Any],
    *,
    num_steps: int,
    num_rows: int,
    split_sizes: Mapping[str, int],
    output_dir: Path,
) -> dict[str, Any]:
    """A run of so many steps with the same data, model and updates.

    The training split stays whole, so that the task learns the same classes and the prepared data is found
    in the cache; other splits keep at most `num_rows` rows where the data set has the option.
    """
    short = copy.deepcopy(dict(config))
    short |= {"name": NAME, "output_dir": str(output_dir), "resume": None, "references": {}}
    short["tracker"] = TRACKER
    short["hub"] = {"repo": None, "private": True}
    short["trainer"] |= {**TRAINER, "max_steps": num_steps}
    short["launch"]["max_restarts"] = 0
    if isinstance(short["dataset"].get("subset"), dict):
        large = [split for split, size in split_sizes.items() if split != "train" and size > num_rows]
        short["dataset"]["subset"] |= dict.fromkeys(large, num_rows)
    return short


def check_resume(
    config: Mapping[str, Any], *, num_kills: int, say: Callable[[str], None]
) -> Iterator[Finding]:
    """An unbroken run against one that was killed at random moments, batch by batch and bit by bit."""
    whole, broken = (create(config, overrides=(), command=["runwright verify"]) for _ in range(2))
    say("resume: an unbroken run")
    began = time.monotonic()
    if code := _start(whole, resume=False).wait():
        yield _failed_run(whole, code)
        return
    timeout_seconds = 60 + 10 * (time.monotonic() - began)  # for each start of the run
    chance = random.Random(0)  # noqa: S311 - no secret
    last_step = config["trainer"]["max_steps"] - 1
    killed, code = _run_with_kills(broken, num_kills, last_step, timeout_seconds, chance, say)
    if code:
        yield _failed_run(broken, code)
    elif not killed:
        text = "the run was over before it was killed: more --steps"
        yield Finding(CHECK, "kills", text, allowed=BITS, verdict="not checked")
    else:
        yield from _judge(config, whole, broken, " and ".join(map(str, killed)))


def _judge(config: Mapping[str, Any], whole: Path, broken: Path, steps: str) -> Iterator[Finding]:
    cuda = CUDA if config["trainer"]["device"] != "cpu" and not config["trainer"]["deterministic"] else ""
    advice = ADVICE.format(cuda=cuda, folders=f"{whole} {broken}")
    for comparison in compare(whole, broken):
        holds = comparison.is_equal and not comparison.num_unmatched
        text = f"{comparison.where}: {' and '.join(comparison.values)}" if comparison.where else "none"
        text += f"; {comparison.compared}" * (comparison.num_unmatched > 0)
        what = f"{comparison.what} ({comparison.compared}), killed after step {steps}"
        yield judge(CHECK, what, text, BITS, holds=holds, advice=advice)
    doubled = count_doubled(broken)
    text = f"{doubled} are doubled or contradict each other" if doubled else "each once"
    yield judge(CHECK, "records of the journal", text, "each once", holds=not doubled, advice="")


def count_doubled(folder: Path) -> int:
    """Metrics that a journal has more than once for a step, and replayed ones with another value."""
    times: Counter[tuple[str, int]] = Counter()
    num_conflicts = 0
    for record, _ in read(folder / FILE_NAME):
        times.update((name, record["s"]) for name in record.get("m", {}))
        times.update([("ledger", record["s"])] if "ledger" in record else [])
        num_conflicts += len(record.get("conflict", {}))
    return sum(count > 1 for count in times.values()) + num_conflicts


def _run_with_kills(
    folder: Path,
    num_kills: int,
    last_step: int,
    timeout_seconds: float,
    generator: random.Random,
    say: Callable[[str], None],
) -> tuple[list[int], int]:
    """Start a run, kill and resume it, and let it end: the last steps before the kills, and its exit code."""
    killed: list[int] = []
    for left in range(num_kills, 0, -1):
        first = max([SAVE_EVERY, *killed]) + 1
        if first > last_step:
            break
        step = generator.randint(first, first + (last_step - first) // left)
        process = _start(folder, resume=bool(killed))
        until = time.monotonic() + timeout_seconds
        if not _reaches(folder, process, step, until, generator):
            return killed, process.wait()
        _kill(process)
        killed.append(max(recorded_steps(folder)))
        say(f"resume: killed after step {killed[-1]}")
        until = time.monotonic() + timeout_seconds
        while is_busy(folder) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)  # workers of several processes end a moment after their launcher
    process = _start(folder, resume=True)
    try:
        return killed, process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        return killed, process.wait()


def _reaches(
    folder: Path, process: subprocess.Popen[bytes], step: int, until: float, generator: random.Random
) -> bool:
    """Wait until a random moment of the step after this one; False where the run ended before."""
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        times = recorded_steps(folder)
        if max(times, default=0) >= step and any(folder.glob("checkpoints/step-*")):
            *_, before, now = times.values()
            time.sleep(generator.uniform(0, max(0.0, now - before)))
            return process.poll() is None
        time.sleep(POLL_SECONDS)
    _kill(process)
    return False


def recorded_steps(folder: Path) -> dict[int, float]:
    """The steps whose loss is in the journal, and when it was recorded, in seconds."""
    journal = folder / FILE_NAME
    if not journal.is_file():
        return {}
    records = (record for record, _ in read(journal) if LOSS in record.get("m", {}))
    return {record["s"]: record["t"] / 1000 for record in records}


def _start(folder: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    """The command that a user would type, in a process of its own; its output goes to a file."""
    which = ["--resume", str(folder)] if resume else ["--resolved", str(folder / CONFIG_FILE)]
    with (folder / OUTPUT_FILE).open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-P", "-m", "runwright", "train", *which],
            env={**os.environ, **worker_environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, for the process and what it started in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failed_run(folder: Path, code: int) -> Finding:
    output = folder / OUTPUT_FILE
    tail = "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
    advice = f"The short run itself failed; the end of {output}:\n{tail}"
    return Finding(CHECK, "a short run", f"exit code {code}", "0", "fails", advice)
