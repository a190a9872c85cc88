"""Measuring in a group of processes: one of them alone first, then all together."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runwright.analysis.verify.findings import FINDINGS_FILE, ORDER_FILE, Finding
from runwright.config.permissions import worker_environment
from runwright.launch.group import WorkerGroup
from runwright.launch.supervise import supervise
from runwright.runs.folder import write_config
from runwright.trainer.environment import catch_signals

MEASURED = ("parity", "evaluation")
WORKER = "runwright.analysis.verify.worker"
SILENT_SECONDS = 3600.0  # for the others to wait while the first process measures alone
GRACE_SECONDS = 5.0


def measure(
    folder: Path,
    config: Mapping[str, Any],
    *,
    checks: Sequence[str],
    num_rows: int,
    num_processes: int,
    num_threads: int,
) -> list[Finding]:
    """What a group of processes finds; `folder` is made for it. Raises KeyboardInterrupt after Ctrl-C."""
    folder.mkdir(parents=True)
    shared = copy.deepcopy(dict(config))
    shared["launch"] |= {"num_processes": num_processes, "timeout_seconds": SILENT_SECONDS}
    write_config(folder, shared)
    order = {"checks": list(checks), "num_rows": num_rows, "num_threads": num_threads}
    (folder / ORDER_FILE).write_text(json.dumps(order), encoding="utf-8")
    said: list[str] = []
    stops: list[int] = []
    with catch_signals(lambda number, _: stops.append(number)):
        group = WorkerGroup(
            [sys.executable, "-P", "-m", WORKER, str(folder), str(folder / "reports")],
            num_processes=num_processes,
            folder=folder / "reports",
            environment=worker_environment() | {"OMP_NUM_THREADS": str(num_threads)},
        )
        with group:
            outcome = supervise(
                group, stops, timeout_seconds=SILENT_SECONDS, grace_seconds=GRACE_SECONDS, say=said.append
            )
    if outcome.failure is not None:
        return [
            Finding(
                check=checks[0],
                what="the measurement",
                found=f"exit code {outcome.code}",
                allowed="0",
                verdict="fails",
                advice=outcome.failure.text,
            )
        ]
    if outcome.code:
        raise KeyboardInterrupt
    found = json.loads((folder / FINDINGS_FILE).read_text(encoding="utf-8"))
    return [Finding(**each) for each in found]
