"""`runwright reproduce`: execute a run again, compare metrics and weights, and list the changes around it."""

import copy
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from runwright.analysis.steps import LOSS, Comparison, compare, comparison_table, read_record
from runwright.config.redaction import reveal
from runwright.config.targets import check
from runwright.dataset.fingerprint import row_changes
from runwright.errors import ConfigError, RunwrightError, listed, raise_if_any, shown
from runwright.launch.start import start
from runwright.report.page.document import value_text
from runwright.runs.data_identity import recorded_rows
from runwright.runs.folder import CONFIG_FILE, create, read_config, read_run, read_saved, update_status
from runwright.runs.record import MODELS_FILE, PROVENANCE_FILE
from runwright.runs.resume import differences, recorded_overrides, with_overrides
from runwright.store import flatten, read_json, write_json

# Named first: packages that compute the numbers.
NUMERIC = ("torch", "transformers", "tokenizers", "numpy", "accelerate", "datasets", "safetensors", "peft")
HARDWARE = {"cpu": "processor", "gpus": "GPUs", "num_torch_threads": "threads"}
TOLERANCE = 1e-5  # what another order of summation does to metrics in float32 over some dozens of steps


def surrounding_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Differences of two records of provenance, what and how; a field that only one of them has is none."""
    for package in before.get("code", {}).keys() & now.get("code", {}).keys():
        if names := _unequal(before["code"][package], now["code"][package]):
            yield f"source: {listed(f'{package}/{name}' for name in names)}"
    old, new = before["packages"], now["packages"]
    names = sorted(_unequal(old, new), key=lambda name: name.lower() not in NUMERIC)
    if names:
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
IGNORED = ("name", "output_dir", "tracker.", "launch.grace_seconds", "launch.timeout_seconds")  # settings


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


def reproduce(folder: Path, overrides: Sequence[str] = (), *, allow_shadow: bool = False) -> Reproduction:
    """Run the configuration of a run again, in a new folder, and compare the two.

    Overrides change it first. Raises ConfigError where the run has not finished.
    """
    record = read_run(folder)
    if record["status"] != "FINISHED":
        raise ConfigError(
            f"{folder}: given a run that is {record['status']}, expected one that has finished; resume it "
            f"first: runwright train --resume {folder}"
        )
    config = configuration(folder, overrides, allow_shadow=allow_shadow)
    other = create(config, overrides=[*recorded_overrides(folder), *overrides], command=sys.argv)
    update_status(other, "CREATED", reproduces=record["run_id"])
    code = start(resume=str(other))
    if code:
        raise RunwrightError(f"{other}: the run ended with exit code {code}; {other / 'log.txt'} says why")
    reproduction = _judge(folder, other)
    write_json(other / FILE_NAME, {**asdict(reproduction), "text": str(reproduction)})
    return reproduction


def configuration(folder: Path, overrides: Sequence[str], *, allow_shadow: bool) -> dict[str, Any]:
    """The run's configuration with overrides on top, on as many threads and processes as it had."""
    config = read_saved(folder)
    if overrides:
        config = with_overrides(folder, overrides, allow_shadow=allow_shadow)
    pinned = _pinned(config, read_json(folder / PROVENANCE_FILE))
    raise_if_any(check(reveal(pinned)))
    return pinned


def _pinned(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration with the threads and processes that a run recorded."""
    pinned = copy.deepcopy(dict(config))
    if pinned["trainer"]["num_threads"] is None:
        pinned["trainer"]["num_threads"] = provenance.get("hardware", {}).get("num_torch_threads")
    if pinned["launch"]["num_processes"] == 1:  # a launcher from outside may have started more
        pinned["launch"]["num_processes"] = provenance.get("num_processes", 1)
    return pinned


def _changes(folder: Path, other: Path) -> list[str]:
    """Differences between what two runs recorded."""
    recorded, provenance = (read_json(run / PROVENANCE_FILE) for run in (folder, other))
    pinned, config = _pinned(read_config(folder / CONFIG_FILE), recorded), read_config(other / CONFIG_FILE)
    old, new = (
        {key: value for key, value in flatten(settings).items() if not key.startswith(IGNORED)}
        for settings in (pinned, config)
    )
    rows = row_changes(recorded_rows(folder), recorded_rows(other))
    texts = [f"{split}: {text}" for split, text in rows.items()]
    resumed = read_run(folder).get("data_changes", [])  # the run was resumed on other rows
    texts += [f"the first run's changed at step {c['step']}: {'; '.join(c['changes'])}" for c in resumed]
    return [
        *(f"config: {k} {shown(a)} → {shown(b)}" for k, (a, b) in differences(old, new).items()),
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
        verdict = "within tolerance" if _is_close(folder, other) else "different"
    return Reproduction(
        original=folder,
        folder=other,
        verdict=verdict,
        first=f"{row.where} ({row.what} {row.values[0]} → {row.values[1]})" if row else "",
        step=int(row.step) if row and math.isfinite(row.step) else None,
        changes=_changes(folder, other),
        comparisons=comparisons,
    )


def _is_close(folder: Path, other: Path) -> bool:
    """Return True for the same data and every metric of every step within the tolerance."""
    (ledger, curves), (other_ledger, other_curves) = read_record(folder), read_record(other)
    one, two = flatten(curves), flatten(other_curves)
    if ledger != other_ledger or one.keys() != two.keys() or LOSS not in curves:
        return False
    return all(
        math.isclose(value, two[key], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        or (math.isnan(value) and math.isnan(two[key]))
        for key, value in one.items()
    )


def show(reproduction: Reproduction) -> None:
    """Print the comparison and the verdict."""
    console = Console(highlight=False)
    names = reproduction.original.name, reproduction.folder.name
    console.print(comparison_table(reproduction.comparisons, names=names))
    for change in reproduction.changes:
        console.print(f"  {change}", soft_wrap=True)
    console.print(f"\n{reproduction}", soft_wrap=True)
