"""The end of a multirun: its jobs in a table, the best first."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from runwright.report.page.records import numbers_of, read_json
from runwright.runs.folder import CONFIG_FILE, read_config

OUTCOME_FILE = "outcome.json"
SUMMARY_FILE = "summary.json"
MAX_METRICS = 4


def read_outcomes(sweep: Path, *, since: float = 0.0) -> list[dict[str, Any]]:
    """The outcomes of the jobs, best first; those that failed last."""
    files = [file for file in sweep.rglob(OUTCOME_FILE) if file.stat().st_mtime >= since - 1]
    outcomes = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for outcome in outcomes:
        outcome["metrics"], outcome["rank"] = _metrics(outcome)
    return sorted(outcomes, key=lambda outcome: (outcome["exit_code"] != 0, outcome["rank"], outcome["job"]))


def print_table(outcomes: list[dict[str, Any]], sweep: Path) -> None:
    """Print the jobs of a sweep with the overrides in which they differ and their first metrics."""
    from rich.text import Text

    from runwright.report.terminal import plain_table, result_console
    from runwright.report.terminal import print_table as print_whole

    table = plain_table()
    table.add_column("job", justify="right")
    table.add_column("overrides")
    table.add_column("status")
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome["metrics"]))[:MAX_METRICS]
    for name in (*names, "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    common = set.intersection(*(set(outcome["overrides"]) for outcome in outcomes)) if outcomes else set()
    for outcome in outcomes:
        code, values = outcome["exit_code"], [outcome["metrics"].get(name) for name in names]
        different = [text for text in outcome["overrides"] if text not in common or len(outcomes) == 1]
        row = [
            str(outcome["job"]),
            " ".join(different) or "-",
            outcome["status"] + (f" ({code})" if code else ""),
            *("-" if value is None else f"{value:.4g}" for value in values),
            f"{outcome['seconds']:.1f}",
            Path(outcome["folder"]).name if outcome["folder"] else "-",
        ]
        table.add_row(*map(Text, row))
    console = result_console()
    console.print(f"{len(outcomes)} jobs")
    print_whole(table, console=console)
    console.print(f"sweep: {sweep}", soft_wrap=True)


def _metrics(outcome: dict[str, Any]) -> tuple[dict[str, float], float]:
    """The metrics of a run, its best one first, and a number that is smaller for a better run."""
    folder = Path(outcome["folder"] or "")
    values = numbers_of(read_json(folder / SUMMARY_FILE).get("metrics"))
    if not outcome["folder"] or not values:
        return {}, math.inf
    trainer = read_config(folder / CONFIG_FILE).get("trainer", {})
    best_metric, best_split = str(trainer.get("best_metric")), trainer.get("best_split")
    ordered = sorted(values, key=lambda name: name.partition("/")[2] != best_metric)
    splits = [name.partition("/")[0] for name in values if name.startswith("validation")]
    usual = "validation" if "validation" in splits or not splits else splits[0]
    value = values.get(f"{best_split or usual}/{best_metric}", math.nan)
    rank = -value if trainer.get("best_mode") == "max" else value
    return {name: values[name] for name in ordered}, math.inf if math.isnan(rank) else rank
