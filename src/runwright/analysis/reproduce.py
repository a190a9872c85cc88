"""`runwright reproduce`: execute a run again, compare metrics and weights, and list the changes around it."""

import copy
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from runwright import build
from runwright.analysis.steps import LOSS, Comparison, compare, comparison_table, read_record
from runwright.config.redaction import reveal
from runwright.config.targets import check
from runwright.dataset.fingerprint import RowRecord, row_changes
from runwright.errors import ConfigError, RunwrightError, listed, raise_if_any, shown
from runwright.launch.start import start
from runwright.report.page.document import value_text
from runwright.runs.data_identity import other_splits, recorded_rows, rows_of
from runwright.runs.folder import CONFIG_FILE, create, read_config, read_run, read_saved, update_status
from runwright.runs.record import MODELS_FILE, PROVENANCE_FILE, find_models, surroundings
from runwright.runs.resume import differences, recorded_overrides, with_overrides
from runwright.store import cache_root, flatten, read_json, write_json

# Named first: packages that compute the numbers.
NUMERIC = ("torch", "transformers", "tokenizers", "numpy", "accelerate", "datasets", "safetensors", "peft")
HARDWARE = {"cpu": "processor", "gpus": "GPUs", "num_torch_threads": "threads"}
MAX_PACKAGES = 10


def surrounding_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Differences of two records of provenance, what and how; a field that only one of them has is none."""
    for package in before.get("code", {}).keys() & now.get("code", {}).keys():
        old, new = before["code"][package], now["code"][package]
        edits = {
            "edited": [name for name in old if name in new and old[name] != new[name]],
            "new": [name for name in new if name not in old],
            "gone": [name for name in old if name not in new],
        }
        for word, names in edits.items():
            if names:
                yield f"source: {word}: {listed(f'{package}/{name}' for name in names)}"
    old, new = before["packages"], now["packages"]
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    names.sort(key=lambda name: (name.lower() not in NUMERIC, name.lower()))
    for name in names[:MAX_PACKAGES]:
        yield f"package: {name} {old.get(name, 'none')} → {new.get(name, 'none')}"
    if len(names) > MAX_PACKAGES:
        yield f"package: and {len(names) - MAX_PACKAGES} more"
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
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if names and old and new:
            yield f"model: other files of the {group}: {listed(names)}"


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
    tolerance: float

    def __str__(self) -> str:
        causes = "; ".join(self.changes)
        if self.verdict == "identical":
            return f"identical, although {causes}" if causes else "identical"
        verdict = self.verdict + f" ({self.tolerance:g})" * (self.verdict == "within tolerance")
        return f"{verdict}, first at {self.first}, because {causes or UNDETERMINED}"


def reproduce(
    folder: Path, overrides: Sequence[str] = (), *, tolerance: float, allow_shadow: bool = False
) -> Reproduction:
    """Run the configuration of a run again, in a new folder, and compare the two.

    Overrides change it first. Raises ConfigError where the run has not finished.
    """
    record = read_run(folder)
    if record["status"] != "FINISHED":
        raise ConfigError(
            f"{folder}: given a run that is {record['status']}, expected one that has finished; resume it "
            f"first: runwright train --resume {folder}, or only compare what surrounds it: --check-only"
        )
    config = configuration(folder, overrides, allow_shadow=allow_shadow)
    other = create(config, overrides=[*recorded_overrides(folder), *overrides], command=sys.argv)
    update_status(other, "CREATED", reproduces=record["run_id"])
    code = start(resolved=other / CONFIG_FILE)
    if code:
        raise RunwrightError(f"{other}: the run ended with exit code {code}; {other / 'log.txt'} says why")
    reproduction = _judge(folder, other, tolerance=tolerance)
    write_json(other / FILE_NAME, {**asdict(reproduction), "text": str(reproduction)})
    return reproduction


def configuration(folder: Path, overrides: Sequence[str], *, allow_shadow: bool) -> dict[str, Any]:
    """The run's configuration with overrides on top, on as many threads and processes as it had."""
    config = read_saved(folder)
    if overrides:
        config, _ = with_overrides(folder, overrides, allow_shadow=allow_shadow)
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


def changes_around(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Changes for a run with this configuration here and now; its rows are read."""
    revealed = reveal(config, but="tracker")
    data = build.load_data(revealed)
    rows = rows_of(data, splits=other_splits(data, recorded_rows(folder).fingerprints))
    models, provenance = find_models(revealed, cache=cache_root()), surroundings(revealed)
    return _changes(folder, config, rows, models, provenance)


def _changes(
    folder: Path,
    config: Mapping[str, Any],
    rows: RowRecord,
    models: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> list[str]:
    """Differences between what a run recorded and what another one has."""
    recorded = read_json(folder / PROVENANCE_FILE)
    old, new = (
        {key: value for key, value in flatten(settings).items() if not key.startswith(IGNORED)}
        for settings in (_pinned(read_config(folder / CONFIG_FILE), recorded), config)
    )
    texts = [f"{split}: {text}" for split, text in row_changes(recorded_rows(folder), rows).items()]
    resumed = read_run(folder).get("data_changes", [])  # the run was resumed on other rows
    texts += [f"the first run's changed at step {c['step']}: {'; '.join(c['changes'])}" for c in resumed]
    return [
        *(f"config: {k} {shown(a)} → {shown(b)}" for k, (a, b) in differences(old, new).items()),
        *(f"data: {text}" for text in texts),
        *model_changes(read_json(folder / MODELS_FILE), models),
        *(surrounding_changes(recorded, provenance) if recorded and provenance else ()),
    ]


def _judge(folder: Path, other: Path, *, tolerance: float) -> Reproduction:
    comparisons = compare(folder, other)
    different = [row for row in comparisons if not row.is_equal]
    # of several at one step the data, then the loss
    row = min(different, key=lambda row: row.step, default=None)
    verdict: Verdict = "identical"
    if row is not None:
        verdict = "within tolerance" if _is_close(folder, other, tolerance) else "different"
    models, provenance = read_json(other / MODELS_FILE), read_json(other / PROVENANCE_FILE)
    return Reproduction(
        original=folder,
        folder=other,
        verdict=verdict,
        first=f"{row.where} ({row.what} {row.values[0]} → {row.values[1]})" if row else "",
        step=int(row.step) if row and math.isfinite(row.step) else None,
        changes=_changes(folder, read_config(other / CONFIG_FILE), recorded_rows(other), models, provenance),
        comparisons=comparisons,
        tolerance=tolerance,
    )


def _is_close(folder: Path, other: Path, tolerance: float) -> bool:
    """Return True for the same data and every metric of every step within the tolerance."""
    (ledger, curves), (other_ledger, other_curves) = read_record(folder), read_record(other)
    one, two = flatten(curves), flatten(other_curves)
    if ledger != other_ledger or one.keys() != two.keys() or LOSS not in curves:
        return False
    return all(
        math.isclose(value, two[key], rel_tol=tolerance, abs_tol=tolerance)
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
