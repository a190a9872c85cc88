"""The end of a multirun: its jobs in a table, the best first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from statistics import fmean
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
    """Print the jobs of a sweep, the best first, means over seeds, and what to do with the best one."""
    from rich.table import Column
    from rich.text import Text

    from runwright.report.summary import REPORT_NAME, shown_path
    from runwright.report.terminal import plain_table, result_console
    from runwright.report.terminal import print_table as print_whole

    console = result_console()
    console.print(f"{len(outcomes)} jobs")
    for rows in _tables(outcomes):
        table = plain_table(
            *(Column(name.replace("/", "/\n"), no_wrap=name != "overrides") for name in rows[0])
        )
        for row in rows:
            table.add_row(*map(Text, row.values()))
        print_whole(table, console=console, below=1)
    lines = {"sweep": shown_path(sweep)}
    if (sweep / REPORT_NAME).is_file():
        lines["report"] = shown_path(sweep / REPORT_NAME)
    if outcomes and outcomes[0]["metrics"]:
        best = shown_path(Path(outcomes[0]["folder"]))
        lines |= {"best": f"job {outcomes[0]['job']}, {best}", "next": f"runwright evaluate {quote(best)}"}
    for label, text in lines.items():
        console.print(Text.assemble((f" {label:<12}", "dim"), text), soft_wrap=True)


def _tables(outcomes: list[dict[str, Any]]) -> Iterator[list[dict[str, str]]]:
    """The rows of the jobs, then means over jobs that differ in their seeds alone where there are such."""
    from runwright.report.terminal import duration, mean_text

    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome["metrics"]))[:MAX_METRICS]
    texts = [set(outcome["overrides"]) for outcome in outcomes]
    common = set.intersection(*texts) if len(texts) > 1 else set()
    seeds: dict[str, list[dict[str, Any]]] = {}
    rows = []
    for outcome in outcomes:
        code, metrics = outcome["exit_code"], outcome["metrics"]
        different = [text for text in outcome["overrides"] if text not in common]
        if metrics:
            setting = " ".join(text for text in different if not text.startswith(("seed=", "seeds.")))
            seeds.setdefault(setting or "-", []).append(outcome)
        row = {"job": str(outcome["job"]), "overrides": " ".join(different) or "-"}
        row["status"] = outcome["status"] + (f" ({code})" if code else "")
        row |= {name: mean_text([metrics[name]] if name in metrics else []) for name in names}
        row["time"] = duration(outcome["seconds"])
        row["run"] = Path(outcome["folder"]).name if outcome["folder"] else "-"
        rows.append(row)
    if rows:
        yield rows
    if any(len(jobs) > 1 for jobs in seeds.values()):
        settings = sorted(seeds.items(), key=lambda pair: fmean(job["rank"] for job in pair[1]))
        yield [
            {"mean ± standard deviation": setting, "jobs": str(len(jobs))}
            | {n: mean_text([job["metrics"][n] for job in jobs if n in job["metrics"]]) for n in names}
            for setting, jobs in settings
        ]


def _metrics(outcome: dict[str, Any]) -> tuple[dict[str, float], float]:
    """The metrics of a run, its best one first, and a number that is smaller for a better run."""
    folder = Path(outcome["folder"] or "")
    summary = read_json(folder / SUMMARY_FILE)
    values = numbers_of(summary.get("metrics"))
    if not outcome["folder"] or not values:
        return {}, math.inf
    # As `runwright runs` shows it: without the start of the process.
    outcome["seconds"] = numbers_of(summary.get("seconds")).get("all", outcome["seconds"])
    trainer = read_config(folder / CONFIG_FILE).get("trainer", {})
    best_metric, best_split = str(trainer.get("best_metric")), trainer.get("best_split")
    ordered = sorted(values, key=lambda name: name.partition("/")[2] != best_metric)
    splits = [name.partition("/")[0] for name in values if name.startswith("validation")]
    usual = "validation" if "validation" in splits or not splits else splits[0]
    value = values.get(f"{best_split or usual}/{best_metric}", math.nan)
    rank = -value if trainer.get("best_mode") == "max" else value
    return {name: values[name] for name in ordered}, math.inf if math.isnan(rank) else rank
