"""One process of a measuring group: `python -m runwright.analysis.verify.worker FOLDER REPORTS`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runwright.analysis.verify.findings import FINDINGS_FILE, ORDER_FILE
from runwright.launch.worker import work
from runwright.runs.folder import CONFIG_FILE, read_config


def main(arguments: list[str]) -> int:
    """Measure what the folder's order says; findings are written there by the first process."""
    folder, reports = map(Path, arguments)
    return work(lambda: measure(folder), reports=reports)


def measure(folder: Path) -> None:
    """Measure as one of the processes."""
    from runwright import build
    from runwright.analysis.verify.subject import Subject
    from runwright.store import cache_root
    from runwright.trainer.processes import end_ranks, set_threads, start_ranks

    config = read_config(folder / CONFIG_FILE)
    order = json.loads((folder / ORDER_FILE).read_text(encoding="utf-8"))
    options = build.build_options(config)
    ranks = start_ranks(
        options.device,
        precision=options.precision,
        strategy=config["launch"]["strategy"],
        num_processes=config["launch"]["num_processes"],
        timeout_seconds=config["launch"]["timeout_seconds"],
    )
    set_threads(order["num_threads"], deterministic=options.deterministic)
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    subject = Subject(config=config, prepared=prepared, ranks=ranks)
    findings = [asdict(finding) for finding in _findings(subject, order)]
    if ranks.is_first:
        (folder / FINDINGS_FILE).write_text(json.dumps(findings), encoding="utf-8")
    end_ranks(ranks)


def _findings(subject: Any, order: dict[str, Any]) -> Iterator[Any]:
    from runwright.analysis.verify.evaluation import check_evaluation
    from runwright.analysis.verify.parity import check_parity

    if "parity" in order["checks"]:
        yield from check_parity(subject)
    if "evaluation" in order["checks"]:
        yield from check_evaluation(subject, num_rows=order["num_rows"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
