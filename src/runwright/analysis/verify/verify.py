"""`runwright verify`: check the promises for a user's own experiment, on a short version of it.

Resume is shown with real processes and real kills.
`python -m runwright.analysis.verify.verify FOLDER ORDER` is one process of the group that measures
parity and evaluation: each alone first, then all together.
"""

import contextlib
import copy
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from runwright import build
from runwright.analysis.steps import LOSS, compare
from runwright.analysis.verify import parity
from runwright.analysis.verify.parity import NUM_ROWS
from runwright.config.compose import compose_checked
from runwright.config.permissions import worker_environment
from runwright.config.redaction import reveal
from runwright.launch.local import run_group
from runwright.launch.worker import work
from runwright.report.terminal import print_table, result_console, table_of
from runwright.runs.folder import CONFIG_FILE, create, read_config, write_config
from runwright.runs.states import is_busy
from runwright.store import cache_root, write_json
from runwright.tracker.journal import FILE_NAME, read
from runwright.trainer.environment import share_of_cores
from runwright.trainer.ranks import end_ranks

RESUME = "resume"  # the check of this module
SAVE_EVERY, EVALUATE_EVERY = 3, 7  # steps; no multiples of each other, so that every order of events comes up
TRAINER = dict.fromkeys(
    ("max_epochs", "evaluate_every_epochs", "save_every_epochs", "early_stopping_patience")
) | {
    "log_every_steps": 1,
    "evaluate_every_steps": EVALUATE_EVERY,
    "save_every_steps": SAVE_EVERY,
    "keep_checkpoints": 2,
}
TRACKER = {"_target_": "runwright.tracker.console.JournalTracker", "system_every_seconds": None}
NUM_KILLS = 2
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


def short_version(config: Mapping[str, Any], *, num_steps: int, output_dir: Path) -> dict[str, Any]:
    """A run of so many steps with the same data, model and updates.

    The training split stays whole, so that the task learns the same classes and the prepared data is found
    in the cache; validation and test keep at most NUM_ROWS rows where the data set has the option.
    """
    short = copy.deepcopy(dict(config))
    short |= {"name": "verify", "output_dir": str(output_dir), "resume": None, "references": {}}
    short["tracker"] = TRACKER
    short["hub"] = {"repo": None, "private": True}
    short["trainer"] |= {**TRAINER, "max_steps": num_steps}
    short["launch"]["max_restarts"] = 0
    if isinstance(subset := short["dataset"].get("subset"), dict):
        subset |= {split: min(subset.get(split) or NUM_ROWS, NUM_ROWS) for split in ("validation", "test")}
    return short


def check_resume(config: Mapping[str, Any], *, say: Callable[[str], None]) -> Iterator[parity.Finding]:
    """An unbroken run against one that was killed at random moments, batch by batch and bit by bit."""
    whole, broken = (create(config, overrides=(), command=["runwright verify"]) for _ in range(2))
    say("resume: an unbroken run")
    began = time.monotonic()
    if code := _start(whole).wait():
        yield _failed_run(whole, code)
        return
    timeout_seconds = 60 + 10 * (time.monotonic() - began)  # for each start of the run
    killed, code = _run_with_kills(broken, config["trainer"]["max_steps"] - 1, timeout_seconds, say)
    if code:
        yield _failed_run(broken, code)
    elif not killed:
        text = "the run was over before it was killed: more --steps"
        yield parity.Finding(RESUME, "kills", text, allowed=parity.BITS, verdict="not checked")
    else:
        yield from _judge(config, whole, broken, " and ".join(map(str, killed)))


def _judge(config: Mapping[str, Any], whole: Path, broken: Path, steps: str) -> Iterator[parity.Finding]:
    cuda = CUDA if config["trainer"]["device"] != "cpu" and not config["trainer"]["deterministic"] else ""
    advice = ADVICE.format(cuda=cuda, folders=f"{whole} {broken}")
    for comparison in compare(whole, broken):
        holds = comparison.is_equal and not comparison.num_unmatched
        text = f"{comparison.where}: {' and '.join(comparison.values)}" if comparison.where else "none"
        text += f"; {comparison.compared}" if comparison.num_unmatched else ""
        what = f"{comparison.what} ({comparison.compared}), killed after step {steps}"
        yield parity.judge(RESUME, what, text, parity.BITS, holds=holds, advice=advice)
    doubled = count_doubled(broken)
    text = f"{doubled} are doubled or contradict each other" if doubled else "each once"
    yield parity.judge(RESUME, "records of the journal", text, "each once", holds=not doubled, advice="")


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
    folder: Path, last_step: int, timeout_seconds: float, say: Callable[[str], None]
) -> tuple[list[int], int]:
    """Start a run, kill and resume it, and let it end: the last steps before the kills, and its exit code."""
    killed: list[int] = []
    chance = random.Random(0)  # noqa: S311 - no secret
    while True:
        first, left = max([SAVE_EVERY, *killed]) + 1, NUM_KILLS - len(killed)
        process, step = _start(folder), math.inf
        if left and first <= last_step:
            step = chance.randint(first, first + (last_step - first) // left)
        if not _reaches(folder, process, step, time.monotonic() + timeout_seconds, chance):
            return killed, process.wait()
        _kill(process)
        killed.append(max(recorded_steps(folder)))
        say(f"resume: killed after step {killed[-1]}")
        until = time.monotonic() + timeout_seconds
        while is_busy(folder) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)  # workers of several processes end a moment after their launcher


def _reaches(
    folder: Path, process: subprocess.Popen[bytes], step: float, until: float, chance: random.Random
) -> bool:
    """Wait until a random moment of the step after this one; False where the run ended before."""
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        times = recorded_steps(folder) if step < math.inf else {}
        if max(times, default=0) >= step and any(folder.glob("checkpoints/step-*")):
            *_, before, now = times.values()
            time.sleep(chance.uniform(0, max(0.0, now - before)))
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


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """The command that a user would type, in a process of its own; its output goes to a file."""
    with (folder / OUTPUT_FILE).open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-P", "-m", "runwright", "train", "--resume", str(folder)],
            env={**os.environ, **worker_environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failed_run(folder: Path, code: int) -> parity.Finding:
    output = folder / OUTPUT_FILE
    tail = "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
    advice = f"The short run itself failed; the end of {output}:\n{tail}"
    return parity.Finding(RESUME, "a short run", f"exit code {code}", "0", "fails", advice)


MEASURED = ("parity", "evaluation")
FINDINGS_FILE = "findings.json"
SILENT_SECONDS = 3600.0  # for the others to wait while the first process measures alone
STYLES = {"holds": "green", "fails": "bold red", "not checked": "yellow"}


def verify(overrides: Sequence[str], *, checks: Sequence[str], num_steps: int) -> list[parity.Finding]:
    """Verify an experiment, print the findings, and return them.

    Raises ConfigError or DataError where the experiment cannot even begin.
    """
    say = partial(Console(stderr=True, highlight=False).print, style="dim")
    config = compose_checked(overrides).config
    say("reading the data")
    build.prepare(config, cache_folder=cache_root() / "examples")  # fills the cache for all that follow
    folder = Path(tempfile.mkdtemp(prefix="runwright-verify-"))
    findings: list[parity.Finding] = []
    try:
        if measured := [check for check in MEASURED if check in checks]:
            findings += _measure(config, folder / "measured", measured, say)
        if "resume" in checks:
            short = short_version(config, num_steps=num_steps, output_dir=folder / "outputs")
            findings += check_resume(short, say=say)
    finally:
        keep = not findings or any(finding.verdict == "fails" for finding in findings)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _print(findings)
    if keep:
        print(f"everything that was run is in {folder}")
    return findings


def _measure(
    config: Mapping[str, Any], folder: Path, checks: Sequence[str], say: Callable[[str], None]
) -> Iterator[parity.Finding]:
    """Findings of a group of processes; `folder` is made for it. Raises KeyboardInterrupt after Ctrl-C."""
    wanted = num_processes = max(2, config["launch"]["num_processes"])
    num_gpus = torch.cuda.device_count() if config["trainer"]["device"] != "cpu" else 0
    if 0 < num_gpus < wanted:
        num_processes = 1
        text = f"there are {num_gpus} GPUs; trainer.device=cpu has no such limit"
        yield parity.Finding(checks[0], f"{wanted} processes", text, allowed="", verdict="not checked")
    say(f"{' and '.join(checks)}: in {num_processes} processes")
    folder.mkdir(parents=True)
    launch = {"num_processes": num_processes, "timeout_seconds": SILENT_SECONDS}
    write_config(folder, {**config, "launch": config["launch"] | launch})
    num_threads = config["trainer"]["num_threads"] or share_of_cores(num_processes)
    order = json.dumps({"checks": checks, "num_threads": num_threads})
    words = ["runwright.analysis.verify.verify", str(folder), order]
    outcome = run_group(words, folder / "reports", num_processes=num_processes, num_threads=num_threads)
    if outcome.failure:
        code, advice = f"exit code {outcome.code}", outcome.text
        yield parity.Finding(checks[0], "the measurement", code, allowed="0", verdict="fails", advice=advice)
    elif outcome.code:
        raise KeyboardInterrupt
    else:
        findings = json.loads((folder / FINDINGS_FILE).read_text(encoding="utf-8"))
        yield from (parity.Finding(*finding) for finding in findings)


def measure_as_worker(folder: Path, *, checks: Sequence[str], num_threads: int) -> None:
    """Measure as one of the processes; the first writes the findings of all."""
    config = reveal(read_config(folder / CONFIG_FILE))
    ranks = build.join_ranks(config, num_threads=num_threads)
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    subject = parity.Subject(config=config, prepared=prepared, ranks=ranks)
    findings = list(parity.check_parity(subject)) if "parity" in checks else []
    findings += parity.check_evaluation(subject) if "evaluation" in checks else []
    if ranks.is_first:
        write_json(folder / FINDINGS_FILE, findings)
    end_ranks(ranks)


def _print(findings: Sequence[parity.Finding]) -> None:
    console = result_console()
    headings, rows = ("check", "what", "difference", "allowed", ""), []
    checks: dict[str, list[parity.Verdict]] = {}
    for check, what, difference, allowed, verdict, _ in findings:
        name = Text("" if check in checks else check, style="bold")
        checks.setdefault(check, []).append(verdict)
        rows.append([name, what, difference, allowed, Text(verdict, style=STYLES[verdict])])
    print_table(table_of(headings, rows, wraps=headings), console=console, above=1, below=1)
    for check, verdicts in checks.items():
        failed = "fails" in verdicts
        if failed or "holds" in verdicts:
            text = f"{check}: {'does not hold' if failed else 'holds'}"
            console.print(text, style="bold red" if failed else "bold green")
    for advice in dict.fromkeys(finding.advice for finding in findings if finding.advice):
        console.print(advice, markup=False, soft_wrap=True)


if __name__ == "__main__":
    order = json.loads(sys.argv[2])
    sys.exit(work(lambda: measure_as_worker(Path(sys.argv[1]), **order)))
