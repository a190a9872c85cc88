"""Measurements in a group of processes: one of them alone first, then all together.

`python -m runwright.analysis.verify.group FOLDER REPORTS ORDER` is one of these processes.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runwright.analysis.verify.parity import Finding, Subject
from runwright.config.permissions import worker_environment
from runwright.launch.group import WorkerGroup
from runwright.launch.supervise import supervise
from runwright.launch.worker import work
from runwright.runs.folder import CONFIG_FILE, read_config, write_config
from runwright.store import cache_root, write_json
from runwright.trainer.environment import catch_signals

MEASURED = ("parity", "evaluation")
FINDINGS_FILE = "findings.json"
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
    """Findings of a group of processes; `folder` is made for it. Raises KeyboardInterrupt after Ctrl-C."""
    folder.mkdir(parents=True)
    shared = copy.deepcopy(dict(config))
    shared["launch"] |= {"num_processes": num_processes, "timeout_seconds": SILENT_SECONDS}
    write_config(folder, shared)
    order = json.dumps({"checks": list(checks), "num_rows": num_rows, "num_threads": num_threads})
    reports = folder / "reports"
    stops: list[int] = []
    with catch_signals(lambda number, _: stops.append(number)):
        group = WorkerGroup(
            [sys.executable, "-P", "-m", "runwright.analysis.verify.group", str(folder), str(reports), order],
            num_processes=num_processes,
            folder=reports,
            environment=worker_environment() | {"OMP_NUM_THREADS": str(num_threads)},
        )
        with group:
            times = {"timeout_seconds": SILENT_SECONDS, "grace_seconds": GRACE_SECONDS}
            outcome = supervise(group, stops, **times, say=lambda _: None)
    if outcome.failure:
        code, advice = f"exit code {outcome.code}", outcome.text
        return [Finding(checks[0], "the measurement", code, allowed="0", verdict="fails", advice=advice)]
    if outcome.code:
        raise KeyboardInterrupt
    findings = json.loads((folder / FINDINGS_FILE).read_text(encoding="utf-8"))
    return [Finding(*finding) for finding in findings]


def measure_as_worker(folder: Path, *, checks: Sequence[str], num_rows: int, num_threads: int) -> None:
    """Measure as one of the processes; the first writes the findings of all."""
    from runwright import build
    from runwright.analysis.verify.parity import check_evaluation, check_parity
    from runwright.trainer.processes import end_ranks

    config = read_config(folder / CONFIG_FILE)
    ranks = build.join_ranks(config, num_threads=num_threads)
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    subject = Subject(config=config, prepared=prepared, ranks=ranks)
    findings: list[Finding] = []
    if "parity" in checks:
        findings += check_parity(subject)
    if "evaluation" in checks:
        findings += check_evaluation(subject, num_rows=num_rows)
    if ranks.is_first:
        write_json(folder / FINDINGS_FILE, findings)
    end_ranks(ranks)


if __name__ == "__main__":
    run_folder, reports_folder = map(Path, sys.argv[1:3])
    order = json.loads(sys.argv[3])
    sys.exit(work(lambda: measure_as_worker(run_folder, **order), reports=reports_folder))
