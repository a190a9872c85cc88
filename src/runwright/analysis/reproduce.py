"""A run, run again: what is different around it, and whether it comes to the same figures and weights."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from runwright import build
from runwright.analysis.changes import Change, config_changes, model_changes, read_json, surrounding_changes
from runwright.analysis.steps import LOSS, Comparison, compare, comparison_table, read_record
from runwright.config.schema import check
from runwright.config.secrets import reveal
from runwright.dataset.row_hashes import RowRecord, row_changes
from runwright.errors import ConfigError, RunwrightError, raise_if_any
from runwright.launch.start import Request, start
from runwright.runs.data_identity import other_splits, recorded_rows, rows_of
from runwright.runs.folder import CONFIG_FILE, create, read_config, read_run, read_saved, update_status
from runwright.runs.origins import MODELS_FILE, PROVENANCE_FILE, find_models, surroundings
from runwright.runs.resume import override_key, recorded_overrides, with_overrides
from runwright.store import cache_root, write_json

FILE_NAME = "reproduction.json"
Verdict = Literal["identical", "within tolerance", "different"]
SETTLED = ("name", "output_dir", "tracker", "launch.grace_seconds", "launch.timeout_seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """How a second run of the same configuration compares with the first."""

    original: Path
    folder: Path
    verdict: Verdict
    first: str  # where they part, with both values; empty where they do not
    step: int | None  # the same as a number, where it is a step
    changes: list[Change]
    comparisons: list[Comparison]
    tolerance: float

    def __str__(self) -> str:
        causes = [str(change) for change in self.changes if change.matters]
        because = "; ".join(causes) or (
            "nothing that is recorded: operations whose result is not determined (on a GPU: "
            "trainer.deterministic=true)"
        )
        if self.verdict == "different":
            return f"different, first at {self.first}, because {because}"
        if self.verdict == "within tolerance":
            return f"within tolerance ({self.tolerance:g}), first at {self.first}, because {because}"
        return "identical" + (f", although {'; '.join(causes)}" if causes else "")


def reproduce(
    folder: Path, overrides: Sequence[str] = (), *, tolerance: float, allow_shadow: bool = False
) -> Reproduction:
    """Run the configuration of a run again, in a new folder, and compare the two.

    Overrides change it first. Raises ConfigError where the run has not finished.
    """
    status = read_run(folder)["status"]
    if status != "FINISHED":
        raise ConfigError(
            f"{folder}: given a run that is {status}, expected one that has finished; go on with it first: "
            f"runwright train --resume {folder}, or only compare what surrounds it: --check-only"
        )
    config = configuration(folder, overrides, allow_shadow=allow_shadow)
    texts = [*recorded_overrides(folder), *overrides]
    made = create(config, overrides=texts, command=sys.argv)
    update_status(made, "CREATED", reproduces=read_run(folder)["run_id"])
    code = start(Request(overrides=(), resolved=made / CONFIG_FILE))
    if code:
        raise RunwrightError(f"{made}: the run ended with exit code {code}; {made / 'log.txt'} says why")
    found = judge(folder, made, tolerance=tolerance)
    record = {**asdict(found), "text": str(found)}
    write_json(made / FILE_NAME, record)
    return found


def configuration(folder: Path, overrides: Sequence[str], *, allow_shadow: bool) -> dict[str, Any]:
    """The run's configuration with overrides on top, on as many threads and processes as it had."""
    config = read_saved(folder)
    if overrides:
        config, _ = with_overrides(folder, overrides, allow_shadow=allow_shadow)
    found = read_json(folder / PROVENANCE_FILE)
    pinned: dict[str, Any] = copy.deepcopy(config)
    threads = found.get("hardware", {}).get("num_torch_threads")
    if threads is not None and pinned["trainer"]["num_threads"] is None:
        pinned["trainer"]["num_threads"] = threads
    if pinned["launch"]["num_processes"] == 1:  # a launcher from outside may have started more
        pinned["launch"]["num_processes"] = found.get("num_processes", 1)
    if pinned["tracker"].get("register_as") and "tracker.register_as" not in map(override_key, overrides):
        pinned["tracker"]["register_as"] = None  # a check makes no new version of a model that people use
    raise_if_any(check(reveal(pinned)))
    return pinned


def changes_around(folder: Path, config: Mapping[str, Any]) -> list[Change]:
    """What would be different if the run were run with this configuration here and now; its rows are read."""
    revealed = reveal(config, but="tracker")
    data, before = build.load_data(revealed), recorded_rows(folder)
    now = rows_of(data, splits=other_splits(data, before.fingerprints))
    return [
        *_config_changes(folder, config),
        *_row_changes(folder, before, now),
        *model_changes(read_json(folder / MODELS_FILE), find_models(revealed, cache=cache_root())),
        *_surrounding_changes(folder, surroundings(revealed)),
    ]


def changes_between(folder: Path, other: Path) -> list[Change]:
    """What is different around two runs, by what they wrote down."""
    return [
        *_config_changes(folder, read_config(other / CONFIG_FILE)),
        *_row_changes(folder, recorded_rows(folder), recorded_rows(other)),
        *model_changes(read_json(folder / MODELS_FILE), read_json(other / MODELS_FILE)),
        *_surrounding_changes(folder, read_json(other / PROVENANCE_FILE)),
    ]


def judge(folder: Path, other: Path, *, tolerance: float) -> Reproduction:
    """Compare two finished runs of what should be the same."""
    comparisons = compare(folder, other)
    parted = [each for each in comparisons if not each.is_equal]
    verdict: Verdict = "identical"
    first, step = "", None
    if parted:
        verdict = "within tolerance" if _is_close(folder, other, tolerance) else "different"
        earliest = min(parted, key=_step)  # of several at one step the data, then the loss
        step = int(_step(earliest)) if math.isfinite(_step(earliest)) else None
        first = f"{earliest.place} ({earliest.what} {earliest.values[0]} → {earliest.values[1]})"
    return Reproduction(
        original=folder,
        folder=other,
        verdict=verdict,
        first=first,
        step=step,
        changes=changes_between(folder, other),
        comparisons=comparisons,
        tolerance=tolerance,
    )


def show(found: Reproduction) -> None:
    """Print the comparison and the verdict."""
    console = Console(highlight=False)
    names = (found.original.name, found.folder.name)
    console.print(comparison_table(found.comparisons, names=names))
    for change in found.changes:
        console.print(f"  {change}", soft_wrap=True)
    console.print(f"\n{found}", soft_wrap=True)


def _is_close(folder: Path, other: Path, tolerance: float) -> bool:
    """Whether the same data was seen and every figure of every step is as near as that."""
    one, two = read_record(folder), read_record(other)
    if one.ledger != two.ledger or one.curves.keys() != two.curves.keys() or LOSS not in one.curves:
        return False
    return all(
        curve.keys() == two.curves[name].keys()
        and all(_near(value, two.curves[name][step], tolerance) for step, value in curve.items())
        for name, curve in one.curves.items()
    )


def _near(one: float, other: float, tolerance: float) -> bool:
    both_undefined = math.isnan(one) and math.isnan(other)
    return both_undefined or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def _step(comparison: Comparison) -> float:
    """The step at which they part; infinite at the end, or where only the best models differ."""
    word, _, number = comparison.place.partition(" ")
    return float(number) if word == "step" else math.inf


def _row_changes(folder: Path, before: RowRecord, now: RowRecord) -> list[Change]:
    """Other rows than those of a run, and those that it went on with itself."""
    own = read_run(folder).get("data_changes", [])
    texts = [f"{split}: {text}" for split, text in row_changes(before, now).items()]
    texts += [f"the first run's changed at step {each['step']}: {'; '.join(each['changes'])}" for each in own]
    return [Change(what="data", text=text) for text in texts]


def _config_changes(folder: Path, config: Mapping[str, Any]) -> list[Change]:
    before = _compared(read_config(folder / CONFIG_FILE), read_json(folder / PROVENANCE_FILE))
    return config_changes(before, _compared(config, {}))


def _compared(config: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Without what no number depends on, and with the threads and processes that it came to."""
    kept: dict[str, Any] = copy.deepcopy(dict(config))
    for key in SETTLED:
        *path, last = key.split(".")
        node = kept
        for name in path:
            node = node.get(name, {})
        node.pop(last, None)
    if kept["trainer"]["num_threads"] is None:
        kept["trainer"]["num_threads"] = found.get("hardware", {}).get("num_torch_threads")
    kept["launch"]["num_processes"] = found.get("num_processes", kept["launch"]["num_processes"])
    return kept


def _surrounding_changes(folder: Path, now: Mapping[str, Any]) -> list[Change]:
    before = read_json(folder / PROVENANCE_FILE)
    return surrounding_changes(before, now) if before and now else []
