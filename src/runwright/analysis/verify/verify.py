"""`runwright verify`: check the promises for a user's own experiment, on a short version of it.

`python -m runwright.analysis.verify.verify FOLDER REPORTS ORDER` is one process of the group that measures
parity and evaluation: one of them alone first, then all together.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from runwright import build
from runwright.analysis.verify.parity import Finding, Subject, Verdict, check_evaluation, check_parity
from runwright.analysis.verify.resume import check_resume, shorten
from runwright.config.compose import compose_checked
from runwright.config.permissions import worker_environment
from runwright.launch.group import WorkerGroup
from runwright.launch.local import supervise
from runwright.launch.worker import work
from runwright.report.terminal import table_of
from runwright.runs.folder import CONFIG_FILE, read_config, write_config
from runwright.store import cache_root, write_json
from runwright.trainer.environment import catch_signals, share_of_cores
from runwright.trainer.ranks import end_ranks

MEASURED = ("parity", "evaluation")
FINDINGS_FILE = "findings.json"
SILENT_SECONDS = 3600.0  # for the others to wait while the first process measures alone
GRACE_SECONDS = 5.0
STYLES: dict[Verdict, str] = {"holds": "green", "fails": "bold red", "reported": "", "not checked": "yellow"}
CONCLUSIONS = {  # of a check in which nothing failed, and of one in which something did
    "parity": (
        "split-invariant: how a batch is cut and shared out does not change an update",
        "NOT split-invariant",
    ),
    "evaluation": (
        "each example counts once, however an evaluation is cut and shared out",
        "metrics depend on how an evaluation is cut or shared out",
    ),
    "resume": ("a run that is killed and resumed is the same run", "a resumed run is another run"),
}


def verify(
    overrides: Sequence[str],
    *,
    checks: Sequence[str],
    num_steps: int,
    num_kills: int,
    num_rows: int,
    num_processes: int | None,  # None: as many as the run has, at least two
    allow_shadow: bool = False,
) -> list[Finding]:
    """Verify an experiment, print the findings, and return them.

    Raises ConfigError or DataError where the experiment cannot even begin.
    """
    say = partial(Console(stderr=True, highlight=False).print, style="dim")
    config = compose_checked(overrides, allow_shadow=allow_shadow).config
    say("reading the data")
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    folder = Path(tempfile.mkdtemp(prefix="runwright-verify-"))
    findings: list[Finding] = []
    try:
        if measured := [check for check in MEASURED if check in checks]:
            findings += _measure(
                config, folder / "measured", measured, say, num_rows=num_rows, num_processes=num_processes
            )
        if "resume" in checks:
            short = shorten(
                config,
                num_steps=num_steps,
                num_rows=num_rows,
                split_sizes={split: len(examples) for split, examples in prepared.examples.items()},
                output_dir=folder / "outputs",
            )
            findings += check_resume(short, num_kills=num_kills, say=say)
    finally:
        keep = not findings or any(finding.verdict == "fails" for finding in findings)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _print(findings)
    if keep:
        print(f"everything that was run is in {folder}")
    return findings


def _measure(
    config: Mapping[str, Any],
    folder: Path,
    checks: Sequence[str],
    say: Callable[[str], None],
    *,
    num_rows: int,
    num_processes: int | None,
) -> Iterator[Finding]:
    """Findings of a group of processes; `folder` is made for it. Raises KeyboardInterrupt after Ctrl-C."""
    wanted = num_processes = num_processes or max(2, config["launch"]["num_processes"])
    num_gpus = torch.cuda.device_count() if config["trainer"]["device"] != "cpu" else 0
    if 0 < num_gpus < wanted:
        num_processes = 1
        text = f"there are {num_gpus} GPUs; trainer.device=cpu has no such limit"
        yield Finding(checks[0], f"{wanted} processes", text, allowed="", verdict="not checked")
    say(f"{' and '.join(checks)}: in {num_processes} processes")
    folder.mkdir(parents=True)
    launch = {"num_processes": num_processes, "timeout_seconds": SILENT_SECONDS}
    write_config(folder, {**config, "launch": config["launch"] | launch})
    num_threads = config["trainer"]["num_threads"] or share_of_cores(num_processes)
    order = json.dumps({"checks": checks, "num_rows": num_rows, "num_threads": num_threads})
    command = [sys.executable, "-P", "-m", "runwright.analysis.verify.verify", str(folder)]
    reports, stops = folder / "reports", list[int]()
    environment = worker_environment() | {"OMP_NUM_THREADS": str(num_threads)}
    with catch_signals(lambda number, _: stops.append(number)):
        group = WorkerGroup(
            [*command, str(reports), order],
            num_processes=num_processes,
            folder=reports,
            environment=environment,
        )
        with group:
            times = {"timeout_seconds": SILENT_SECONDS, "grace_seconds": GRACE_SECONDS}
            outcome = supervise(group, stops, **times, say=lambda _: None)
    if outcome.failure:
        code, advice = f"exit code {outcome.code}", outcome.text
        yield Finding(checks[0], "the measurement", code, allowed="0", verdict="fails", advice=advice)
    elif outcome.code:
        raise KeyboardInterrupt
    else:
        findings = json.loads((folder / FINDINGS_FILE).read_text(encoding="utf-8"))
        yield from (Finding(*finding) for finding in findings)


def measure_as_worker(folder: Path, *, checks: Sequence[str], num_rows: int, num_threads: int) -> None:
    """Measure as one of the processes; the first writes the findings of all."""
    config = read_config(folder / CONFIG_FILE)
    ranks = build.join_ranks(config, num_threads=num_threads)
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    subject = Subject(config=config, prepared=prepared, ranks=ranks)
    findings = list(check_parity(subject)) if "parity" in checks else []
    findings += check_evaluation(subject, num_rows=num_rows) if "evaluation" in checks else []
    if ranks.is_first:
        write_json(folder / FINDINGS_FILE, findings)
    end_ranks(ranks)


def _print(findings: Sequence[Finding]) -> None:
    """Print one row for each finding, a conclusion for each check, and the advice."""
    console = Console(highlight=False)
    headings, rows = ("check", "what", "difference", "allowed", ""), []
    checks: dict[str, list[Verdict]] = {}
    for check, what, difference, allowed, verdict, _ in findings:
        name = Text("" if check in checks else check, style="bold")
        checks.setdefault(check, []).append(verdict)
        rows.append([name, what, difference, allowed, Text(verdict, style=STYLES[verdict])])
    console.print()
    console.print(table_of(headings, rows, wraps=headings))
    console.print()
    for check, verdicts in checks.items():
        failed = "fails" in verdicts
        if failed or "holds" in verdicts:
            text = f"{check}: {CONCLUSIONS[check][failed]}"
            console.print(text, style="bold red" if failed else "bold green", soft_wrap=True)
    for advice in dict.fromkeys(finding.advice for finding in findings if finding.advice):
        console.print(advice, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run_folder, reports_folder = map(Path, sys.argv[1:3])
    order = json.loads(sys.argv[3])
    sys.exit(work(lambda: measure_as_worker(run_folder, **order), reports=reports_folder))
