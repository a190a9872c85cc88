"""The first step at which the data, losses, other metrics or weights of two runs differ.

Metrics are equal bit for bit or not at all.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from runwright.report.terminal import table_of
from runwright.store import digest, file_sha256
from runwright.tracker.journal import FILE_NAME, UNREPEATABLE, read

LOSS = "train/loss"
BEST = "best model"
SHOWN_DIGITS = 12  # of a hash
NOTHING = "nothing in common"
Curves = dict[str, dict[int, float]]  # by name and step


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One respect in which two runs were compared."""

    what: str
    compared: str  # how much of it, in words
    where: str = ""  # the first difference, e.g. "step 12"; empty: none
    values: tuple[str, str] = ("", "")  # of both runs, there
    num_unmatched: int = 0  # steps that only one of them has, up to where the shorter one ends

    @property
    def is_equal(self) -> bool:
        return not self.where

    @property
    def step(self) -> float:
        """The step of the first difference; infinite at the end and for the best model."""
        word, _, number = self.where.partition(" ")
        return float(number) if word == "step" else math.inf


def compare(one: Path, other: Path) -> list[Comparison]:
    """Data, loss, other metrics and weights of two run folders.

    Runs may log and save at different intervals: what both have is compared, and where each one ends.
    """
    (ledger, curves), (other_ledger, other_curves) = read_record(one), read_record(other)
    losses = curves.pop(LOSS, {}), other_curves.pop(LOSS, {})
    return [
        _compare_steps("data", _shorten(ledger), _shorten(other_ledger)),
        _compare_steps("loss", *losses),
        _compare_curves(curves, other_curves),
        _compare_weights(one, other),
    ]


def read_record(folder: Path) -> tuple[dict[int, str], Curves]:
    """The batch ledger and the curves in a run's journal, without clocks and rates."""
    ledger: dict[int, str] = {}
    curves: Curves = {}
    for record, _ in read(folder / FILE_NAME):
        if "ledger" in record:
            ledger[record["s"]] = record["ledger"]
        for name, value in record.get("m", {}).items():
            if not name.startswith(UNREPEATABLE):
                curves.setdefault(name, {})[record["s"]] = float(value)
    return ledger, curves


def weight_hashes(folder: Path) -> dict[int, str]:
    """A hash of weights and optimizer state of each checkpoint, by step, from the manifests."""
    hashes = {}
    for file in sorted(folder.glob("checkpoints/step-*/manifest.json")):
        manifest = json.loads(file.read_text(encoding="utf-8"))
        # Clocks and paths, which differ from run to run, are in other files.
        tensors = [name for name in manifest["files"] if name.endswith(".safetensors")]
        hashes[manifest["step"]] = digest({name: manifest["files"][name]["sha256"] for name in tensors})
    return hashes


def best_hash(folder: Path) -> str | None:
    """A hash of the weights of the best model; None where there is none."""
    hashes = {file.name: file_sha256(file) for file in (folder / "best").glob("*.safetensors")}
    return digest(hashes) if hashes else None


def comparison_table(comparisons: Iterable[Comparison], *, names: tuple[str, str]) -> Table:
    """One row for each comparison; `names` are those of the runs."""
    headings, rows = ["", "compared", "first difference", *names], []
    for row in comparisons:
        where = Text(row.where, style="bold red") if row.where else Text("none", style="green")
        rows.append([row.what, row.compared, where, *row.values])
    return table_of(headings, rows, wraps=headings)


def _compare_steps(what: str, one: Mapping[int, Any], other: Mapping[int, Any]) -> Comparison:
    where, values = _first_difference(one, other)
    ends = max(one, default=0), max(other, default=0)
    if not where and ends[0] != ends[1]:
        where, values = "the end", (f"step {ends[0]}", f"step {ends[1]}")
    common = len(one.keys() & other.keys())
    num_unmatched = sum(step <= min(ends) for step in one.keys() ^ other.keys())
    compared = f"{common:,} steps" if common else NOTHING
    compared += f"; {num_unmatched:,} are in one only" * (num_unmatched > 0)
    return Comparison(what=what, compared=compared, where=where, values=values, num_unmatched=num_unmatched)


def _first_difference(one: Mapping[int, Any], other: Mapping[int, Any]) -> tuple[str, tuple[str, str]]:
    """The first common step with other values, which are compared by all of their digits: NaN equals NaN."""
    for step in sorted(one.keys() & other.keys()):
        values = str(one[step]), str(other[step])
        if values[0] != values[1]:
            return f"step {step}", values
    return "", ("", "")


def _compare_curves(one: Curves, other: Curves) -> Comparison:
    """All curves that both have; of those that differ, the one that does so first."""
    comparisons = [_compare_steps(name, one[name], other[name]) for name in sorted(one.keys() & other.keys())]
    compared = f"{len(comparisons)} curves" if comparisons else NOTHING
    if lacking := sorted(one.keys() ^ other.keys()):
        compared += f"; in one only: {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}"
    different = [curve for curve in comparisons if not curve.is_equal]
    first = min(different, key=lambda curve: curve.step, default=None)
    return Comparison(
        what="other metrics",
        compared=compared,
        where=first.where if first else "",
        values=(f"{first.what} {first.values[0]}", first.values[1]) if first else ("", ""),
        num_unmatched=sum(curve.num_unmatched for curve in comparisons),
    )


def _compare_weights(one: Path, other: Path) -> Comparison:
    hashes = _shorten(weight_hashes(one)), _shorten(weight_hashes(other))
    best = best_hash(one), best_hash(other)
    where, values = _first_difference(*hashes)
    if not where and best[0] and best[1] and best[0] != best[1]:
        where, values = BEST, (best[0][:SHOWN_DIGITS], best[1][:SHOWN_DIGITS])
    count = len(hashes[0].keys() & hashes[1].keys())
    compared = [f"{count} checkpoint{'s' * (count > 1)}"] * (count > 0) + [BEST] * all(best)
    return Comparison(what="weights", compared=", ".join(compared) or NOTHING, where=where, values=values)


def _shorten(hashes: Mapping[int, str]) -> dict[int, str]:
    return {step: value[:SHOWN_DIGITS] for step, value in hashes.items()}
