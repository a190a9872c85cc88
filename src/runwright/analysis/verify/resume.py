"""Whether a run that is killed and resumed is the same run, shown with real processes and real kills."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.analysis.steps import LOSS, compare
from runwright.analysis.verify.findings import BITS, Finding, Verdict
from runwright.config.permissions import worker_environment
from runwright.runs.folder import CONFIG_FILE, create
from runwright.runs.lock import is_busy
from runwright.tracker.journal import FILE_NAME, read

NAME = "verify"
SAVE_EVERY, EVALUATE_EVERY = 3, 7  # steps; no multiples of each other, so that every order of events comes up
TRAINER = {
    "max_epochs": None,
    "max_minutes": None,
    "log_every_steps": 1,
    "evaluate_every_epochs": None,
    "evaluate_every_steps": EVALUATE_EVERY,
    "save_every_epochs": None,
    "save_every_steps": SAVE_EVERY,
    "keep_checkpoints": 2,
    "early_stopping_patience": None,
}
TRACKER = {
    "_target_": "runwright.tracker.console.ConsoleTracker",
    "interval_seconds": 5.0,
    "system_every_seconds": None,
}


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
    in the cache; other splits keep at most `num_rows` rows where the data set can be told so.
    """
    short = copy.deepcopy(dict(config))
    short |= {"name": NAME, "output_dir": str(output_dir), "resume": None, "references": {}}
    short["tracker"] = TRACKER
    short["trainer"] |= {**TRAINER, "max_steps": num_steps}
    short["launch"]["max_restarts"] = 0
    if isinstance(short["dataset"].get("subset"), dict):
        large = [split for split, size in split_sizes.items() if split != "train" and size > num_rows]
        short["dataset"]["subset"] |= dict.fromkeys(large, num_rows)
    return short


CHECK = "resume"
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A run that was killed now and then."""

    folder: Path
    killed_after: tuple[int, ...]  # steps that were recorded when it was
    code: int  # how it ended


def check_resume(
    config: Mapping[str, Any], *, num_kills: int, seed: int, say: Callable[[str], None]
) -> Iterator[Finding]:
    """An unbroken run against one that was killed at random moments, batch by batch and bit by bit."""
    say("resume: an unbroken run")
    whole, began = _make(config), time.monotonic()
    if code := _start(whole, resume=False).wait():
        yield _broken(whole, code)
        return
    timeout = 60 + 10 * (time.monotonic() - began)
    killer = Killer(timeout=timeout, chance=random.Random(seed), say=say)  # noqa: S311 - no secret
    attempt = killer.run(config, num_kills)
    if attempt.code:
        yield _broken(attempt.folder, attempt.code)
    elif not attempt.killed_after:
        yield _finding("kills", "the run was over before it was killed: more --steps", "not checked")
    else:
        yield from _judge(config, whole, attempt)


def _judge(config: Mapping[str, Any], whole: Path, attempt: Attempt) -> Iterator[Finding]:
    steps = " and ".join(map(str, attempt.killed_after))
    cuda = CUDA if config["trainer"]["device"] != "cpu" and not config["trainer"]["deterministic"] else ""
    advice = ADVICE.format(cuda=cuda, folders=f"{whole} {attempt.folder}")
    for each in compare(whole, attempt.folder):
        holds = each.is_equal and not each.num_unmatched
        found = f"{each.place}: {each.values[0]} and {each.values[1]}" if each.place else "none"
        if each.num_unmatched:
            found += f"; {each.compared}"
        what = f"{each.what} ({each.compared}), killed after step {steps}"
        yield _finding(what, found, "holds" if holds else "fails", advice="" if holds else advice)
    doubled = count_doubled(attempt.folder)
    found = "each once" if not doubled else f"{doubled} are doubled or contradict each other"
    yield _finding("records of the journal", found, "fails" if doubled else "holds", allowed="each once")


def count_doubled(folder: Path) -> int:
    """Figures that a journal has more than once for a step, and replayed ones that came out otherwise."""
    times: Counter[tuple[str, int]] = Counter()
    num_conflicts = 0
    for record, _ in read(folder / FILE_NAME):
        times.update((name, record["s"]) for name in record.get("m", {}))
        times.update([("ledger", record["s"])] if "ledger" in record else [])
        num_conflicts += len(record.get("conflict", {}))
    return sum(count > 1 for count in times.values()) + num_conflicts


@dataclass(frozen=True, kw_only=True, slots=True)
class Killer:
    """Runs experiments that it kills."""

    timeout: float  # seconds for each start of a run
    chance: random.Random
    say: Callable[[str], None]

    def run(self, config: Mapping[str, Any], num_kills: int) -> Attempt:
        """Begin a run, kill and resume it, and let it come to its end."""
        folder, last = _make(config), config["trainer"]["max_steps"] - 1
        killed: list[int] = []
        for left in range(num_kills, 0, -1):
            first = max(SAVE_EVERY, *killed, 0) + 1
            if first > last:
                break
            step = self.chance.randint(first, first + (last - first) // left)
            process = _start(folder, resume=bool(killed))
            if not self._wait_for(folder, process, step):
                return Attempt(folder=folder, killed_after=tuple(killed), code=process.wait())
            _kill(process)
            killed.append(max(recorded_steps(folder)))
            self.say(f"resume: killed after step {killed[-1]}")
            self._wait_until_free(folder)
        return Attempt(folder=folder, killed_after=tuple(killed), code=self._finish(folder))

    def _wait_for(self, folder: Path, process: subprocess.Popen[bytes], step: int) -> bool:
        """Until a random moment of the step after this one; False where the run ended before."""
        until = time.monotonic() + self.timeout
        while time.monotonic() < until:
            if process.poll() is not None:
                return False
            times = recorded_steps(folder)
            if max(times, default=0) >= step and any(folder.glob("checkpoints/step-*")):
                *_, before, now = times.values()
                time.sleep(self.chance.uniform(0, max(0.0, now - before)))
                return process.poll() is None
            time.sleep(POLL_SECONDS)
        _kill(process)
        return False

    def _finish(self, folder: Path) -> int:
        process = _start(folder, resume=True)
        try:
            return process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            return process.wait()

    def _wait_until_free(self, folder: Path) -> None:
        """Workers of a run on several processes end a moment after their launcher."""
        until = time.monotonic() + self.timeout
        while is_busy(folder) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)


def recorded_steps(folder: Path) -> dict[int, float]:
    """The steps whose loss is in the journal, and when it was recorded, in seconds."""
    journal = folder / FILE_NAME
    if not journal.is_file():
        return {}
    records = (record for record, _ in read(journal) if LOSS in record.get("m", {}))
    return {record["s"]: record["t"] / 1000 for record in records}


def _make(config: Mapping[str, Any]) -> Path:
    return create(config, overrides=(), command=["runwright verify"])


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


def _broken(folder: Path, code: int) -> Finding:
    """A run that did not come to its end."""
    output = folder / OUTPUT_FILE
    tail = "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
    advice = f"The short run itself failed; the end of {output}:\n{tail}"
    return _finding("a short run", f"exit code {code}", "fails", allowed="0", advice=advice)


def _finding(what: str, found: str, verdict: Verdict, *, allowed: str = BITS, advice: str = "") -> Finding:
    return Finding(check=CHECK, what=what, found=found, allowed=allowed, verdict=verdict, advice=advice)
