"""The first step at which the data, losses, other metrics or weights of two runs differ.

Metrics are equal bit for bit or not at all.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from runwright.report.terminal import table_of
from runwright.store import digest, file_sha256
from runwright.tracker.journal import FILE_NAME, UNREPEATABLE, read

LOSS = "train/loss"
BEST = "best model"
SHOWN_DIGITS = 12  # of a hash
NOTHING = "nothing in common"
TOLERANCE = 1e-5  # what another order of summation does to metrics in float32 over some dozens of steps
OTHERS = "other metrics"
Key = tuple[float, str]  # a step, infinite for the best model, and a name
Record = Mapping[Key, float | str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One respect in which two runs were compared."""

    what: str
    compared: str  # how much of it, in words
    where: str = ""  # the first difference, e.g. "step 12"; empty: none
    values: tuple[str, str] = ("", "")  # of both runs, there
    num_unmatched: int = 0  # steps that only one of them has, up to where the shorter one ends
    is_close: bool = False  # both have the same steps, and numbers there within TOLERANCE

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
    data, losses, others = zip(*map(_read_record, (one, other)), strict=True)
    weights = _weights(one), _weights(other)
    common = [{key: side[key] for key in weights[0].keys() & weights[1].keys()} for side in weights]
    records = {"data": data, "loss": losses, OTHERS: others, "weights": common}
    return [_compare(what, *sides) for what, sides in records.items()]


def _read_record(folder: Path) -> tuple[Record, Record, Record]:
    """The batch ledger, the losses and the other metrics in a run's journal, without clocks and rates."""
    ledger: dict[Key, str] = {}
    losses: dict[Key, float] = {}
    others: dict[Key, float] = {}
    for record, _ in read(folder / FILE_NAME):
        if "ledger" in record:
            ledger[record["s"], ""] = record["ledger"][:SHOWN_DIGITS]
        for name, value in record.get("m", {}).items():
            if not name.startswith(UNREPEATABLE):
                (losses if name == LOSS else others)[record["s"], name] = float(value)
    return ledger, losses, others


def _weights(folder: Path) -> Record:
    hashes: dict[float, str] = {**weight_hashes(folder)}
    if best := best_hash(folder):
        hashes[math.inf] = best
    return {(step, ""): text[:SHOWN_DIGITS] for step, text in hashes.items()}


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


def _compare(what: str, one: Record, other: Record) -> Comparison:
    """The first common step with other values, which are compared by all of their digits: NaN equals NaN."""
    common = sorted(one.keys() & other.keys())
    columns = [[side[key] for key in common] for side in (one, other)]
    ends = [max((step for step, _ in side), default=0) for side in (one, other)]
    first = next((key for key in common if str(one[key]) != str(other[key])), None)
    where, values = "", ("", "")
    if first is not None:
        where = f"step {first[0]}" if math.isfinite(first[0]) else BEST
        values = f"{first[1]} {one[first]}" if what == OTHERS else str(one[first]), str(other[first])
    elif ends[0] != ends[1]:
        where, values = "the end", (f"step {ends[0]}", f"step {ends[1]}")
    num_unmatched = len({step for step, _ in one.keys() ^ other.keys() if step <= min(ends)})
    steps = {step for step, _ in common}
    num_steps = len(steps - {math.inf})
    words = [f"{num_steps:,} steps" if num_steps else "", BEST if math.inf in steps else ""]
    compared = ", ".join(filter(None, words)) or NOTHING
    compared += f"; {num_unmatched:,} are in one only" if num_unmatched else ""
    return Comparison(
        what=what,
        compared=compared,
        where=where,
        values=values,
        num_unmatched=num_unmatched,
        is_close=bool(common) and one.keys() == other.keys() and all(map(_are_close, *columns)),
    )


def _are_close(one: float | str, other: float | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or str(one) == str(other)
