"""`runwright reproduce`: execute a run again, compare metrics and weights, and list the changes around it."""

import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from runwright.analysis.steps import Comparison, compare, comparison_table
from runwright.config.redaction import reveal
from runwright.config.targets import check
from runwright.dataset.fingerprint import row_changes
from runwright.errors import ConfigError, RunwrightError, listed, raise_if_any
from runwright.launch.start import start
from runwright.report.page.document import value_text
from runwright.report.terminal import print_table, result_console
from runwright.runs.data_identity import recorded_rows
from runwright.runs.folder import create, read_run, read_saved, update_status
from runwright.runs.record import MODELS_FILE, PROVENANCE_FILE
from runwright.runs.resume import LENGTHS, RESUMES_FILE, recorded_overrides
from runwright.store import read_json, write_json

# Named first: packages that compute the numbers.
NUMERIC = ("torch", "transformers", "tokenizers", "numpy", "accelerate", "datasets", "safetensors", "peft")
HARDWARE = {"cpu": "processor", "gpus": "GPUs", "num_torch_threads": "threads"}


def surrounding_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Differences between two provenance records in the fields that both have, a line for each kind."""
    for package in before.get("code", {}).keys() & now.get("code", {}).keys():
        if names := _unequal(before["code"][package], now["code"][package]):
            yield f"source: {listed(f'{package}/{name}' for name in names)}"
    old, new = before["packages"], now["packages"]
    if names := sorted(_unequal(old, new), key=lambda name: name.lower() not in NUMERIC):
        changes = (f"{name} {old.get(name, 'none')} → {new.get(name, 'none')}" for name in names)
        yield f"packages: {listed(changes)}"
    facts = [
        record["hardware"] | {"python": record["python"]["version"], "processes": record.get("num_processes")}
        for record in (before, now)
    ]
    for key in ("python", *HARDWARE, "processes"):
        old, new = (fact[key] for fact in facts)
        if old is not None and new is not None and old != new:
            yield f"machine: {HARDWARE.get(key, key)} {value_text(old)} → {value_text(new)}"


def model_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Files of the model or tokenizer that have another content."""
    for group in before.keys() & now.keys():
        old, new = before[group]["files"], now[group]["files"]
        if old and new and (names := _unequal(old, new)):
            yield f"model: other files of the {group}: {listed(names)}"


def _unequal(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {**old, **new} if old.get(name) != new.get(name))


FILE_NAME = "reproduction.json"
Verdict = Literal["identical", "within tolerance", "different"]
UNDETERMINED = "nothing that is recorded: a nondeterministic operation (on a GPU: trainer.deterministic=true)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """Comparison of a second run of the same configuration with the first."""

    original: Path
    folder: Path
    verdict: Verdict
    first: str  # difference, with both values; empty without one
    step: int | None  # of the first difference, where it is at a step
    changes: list[str]
    comparisons: list[Comparison]

    def __str__(self) -> str:
        causes = "; ".join(self.changes)
        if self.verdict == "identical":
            return f"identical, although {causes}" if causes else "identical"
        return f"{self.verdict}, first at {self.first}, because {causes or UNDETERMINED}"


def reproduce(folder: Path) -> Reproduction:
    """Run a finished run again, on as many threads and processes, and compare; else ConfigError."""
    record = read_run(folder)
    if record["status"] != "FINISHED":
        problem = f"{folder}: given a run that is {record['status']}, expected one that has finished"
        hint = f"resume it first: runwright train --resume {shlex.quote(str(folder))}"
        raise ConfigError(f"{problem}; {hint}")
    config, provenance = read_saved(folder), read_json(folder / PROVENANCE_FILE)
    if config["trainer"]["num_threads"] is None:
        config["trainer"]["num_threads"] = provenance.get("hardware", {}).get("num_torch_threads")
    if config["launch"]["num_processes"] == 1:  # a launcher from outside may have started more
        config["launch"]["num_processes"] = provenance.get("num_processes", 1)
    raise_if_any(check(reveal(config)))
    other = create(config, overrides=recorded_overrides(folder), command=sys.argv)
    update_status(other, "CREATED", reproduces=record["run_id"])
    if code := start(resume=str(other)):
        raise RunwrightError(f"{other}: the run ended with exit code {code}; {other / 'log.txt'} says why")
    reproduction = _judge(folder, other)
    write_json(other / FILE_NAME, {**asdict(reproduction), "text": str(reproduction)})
    return reproduction


def _changes(folder: Path, other: Path) -> list[str]:
    """Differences between what two runs recorded."""
    recorded, provenance = (read_json(run / PROVENANCE_FILE) for run in (folder, other))
    rows = row_changes(recorded_rows(folder), recorded_rows(other))
    texts = [f"{split}: {text}" for split, text in rows.items()]
    resumed = read_run(folder).get("data_changes", [])  # the run was resumed on other rows
    texts += [f"the first run's changed at step {c['step']}: {'; '.join(c['changes'])}" for c in resumed]
    file = folder / RESUMES_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    changed = (item for line in lines for item in json.loads(line)["changed"].items())
    return [
        *(f"resumed: the first run's {key} {a} → {b}" for key, (a, b) in changed if key in LENGTHS),
        *(f"data: {text}" for text in texts),
        *model_changes(read_json(folder / MODELS_FILE), read_json(other / MODELS_FILE)),
        *(surrounding_changes(recorded, provenance) if recorded and provenance else ()),
    ]


def _judge(folder: Path, other: Path) -> Reproduction:
    comparisons = compare(folder, other)
    different = [row for row in comparisons if not row.is_equal]
    # of several at one step the data, then the loss
    row = min(different, key=lambda row: row.step, default=None)
    verdict: Verdict = "identical"
    if row is not None:
        is_close = all(comparison.is_close for comparison in comparisons if comparison.what != "weights")
        verdict = "within tolerance" if is_close else "different"
    return Reproduction(
        original=folder,
        folder=other,
        verdict=verdict,
        first=f"{row.where} ({row.what} {row.values[0]} → {row.values[1]})" if row else "",
        step=int(row.step) if row and math.isfinite(row.step) else None,
        changes=_changes(folder, other),
        comparisons=comparisons,
    )


def show(reproduction: Reproduction) -> None:
    """Print the comparison and the verdict."""
    console = result_console()
    names = reproduction.original.name, reproduction.folder.name
    print_table(comparison_table(reproduction.comparisons, names=names), console=console)
    for change in reproduction.changes:
        console.print(f"  {change}", soft_wrap=True)
    console.print(f"\n{reproduction}", soft_wrap=True)
