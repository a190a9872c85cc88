"""Where two runs part: the first step at which their data, losses, other figures or weights differ.

Figures are equal bit for bit or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from runwright.store import file_sha256
from runwright.tracker.journal import FILE_NAME, UNREPEATABLE, read

LOSS = "train/loss"
BEST = "best model"
SHOWN_DIGITS = 12  # of a hash


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One respect in which two runs were compared."""

    what: str
    compared: str  # how much of it, in words
    place: str = ""  # the first one that differs, e.g. "step 12"; empty: none does
    values: tuple[str, str] = ("", "")  # of both runs, there
    num_unmatched: int = 0  # steps that only one of them has, up to where the shorter one ends

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs of what was compared."""
        return not self.place


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What a run's journal says by step."""

    ledger: dict[int, str]
    curves: dict[str, dict[int, float]]  # by name; without clocks and rates


def compare(one: Path, other: Path) -> list[Comparison]:
    """Data, loss, other figures and weights of two run folders.

    Runs may log and save at different intervals: what both have is compared, and where each one ends.
    """
    records = read_record(one), read_record(other)
    losses = [record.curves.pop(LOSS, {}) for record in records]
    return [
        _compare_steps("data", *(record.ledger for record in records), show=_short),
        _compare_steps("loss", *losses, show=repr),
        _compare_figures(*(record.curves for record in records)),
        _compare_weights(one, other),
    ]


def read_record(folder: Path) -> Record:
    """The journal of a run folder."""
    found = Record(ledger={}, curves={})
    for record, _ in read(folder / FILE_NAME):
        if "ledger" in record:
            found.ledger[record["s"]] = record["ledger"]
        for name, value in record.get("m", {}).items():
            if not name.startswith(UNREPEATABLE):
                found.curves.setdefault(name, {})[record["s"]] = float(value)
    return found


def weight_hashes(folder: Path) -> dict[int, str]:
    """What weights and optimizer state of each checkpoint are, by step, as the manifests say."""
    hashes = {}
    for file in sorted(folder.glob("checkpoints/step-*/manifest.json")):
        manifest = json.loads(file.read_text(encoding="utf-8"))
        tensors = {name: entry["sha256"] for name, entry in manifest["files"].items() if is_tensors(name)}
        hashes[manifest["step"]] = hash_together(tensors)
    return hashes


def best_hash(folder: Path) -> str | None:
    """What the weights of the best model are; None where there is none."""
    hashes = {}
    for file in sorted(filter(is_tensors, (folder / "best").glob("*"))):
        hashes[file.name] = file_sha256(file)
    return hash_together(hashes) if hashes else None


def is_tensors(file: str | Path) -> bool:
    """Whether the file holds tensors; clocks and paths, which differ from run to run, are in others."""
    return Path(file).suffix == ".safetensors"


def hash_together(hashes: Mapping[str, str]) -> str:
    """One hash of several files; of a single one its own."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()


def comparison_table(comparisons: Iterable[Comparison], *, names: tuple[str, str] = ("A", "B")) -> Table:
    """The comparisons for people, one row each."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("", "compared", "first difference", *names):
        table.add_column(heading, overflow="fold")
    for each in comparisons:
        place = Text(each.place, style="bold red") if each.place else Text("none", style="green")
        table.add_row(Text(each.what), Text(each.compared), place, *map(Text, each.values))
    return table


def _compare_steps(
    what: str, one: Mapping[int, Any], other: Mapping[int, Any], *, show: Callable[[Any], str]
) -> Comparison:
    common = sorted(one.keys() & other.keys())
    ends = max(one, default=0), max(other, default=0)
    num_unmatched = sum(step <= min(ends) for step in one.keys() ^ other.keys())
    compared = f"{len(common):,} steps" if common else "nothing that both have"
    if num_unmatched:
        compared += f"; {num_unmatched:,} are in one only"
    result = Comparison(what=what, compared=compared, num_unmatched=num_unmatched)
    for step in common:
        if show(one[step]) != show(other[step]):
            return replace(result, place=f"step {step}", values=(show(one[step]), show(other[step])))
    if ends[0] != ends[1]:
        return replace(result, place="the end", values=(f"step {ends[0]}", f"step {ends[1]}"))
    return result


def _compare_figures(
    one: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]
) -> Comparison:
    """All curves that both have; of those that differ, the one that does so first."""
    names = sorted(one.keys() & other.keys())
    found = [_compare_steps(name, one[name], other[name], show=repr) for name in names]
    lacking = sorted(one.keys() ^ other.keys())
    compared = f"{len(names)} curves" if names else "nothing that both have"
    if lacking:
        compared += f"; in one only: {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}"
    result = Comparison(
        what="other figures", compared=compared, num_unmatched=sum(each.num_unmatched for each in found)
    )
    different = [each for each in found if not each.is_equal]
    if not different:
        return result
    first = min(different, key=_place_in_time)
    values = f"{first.what} {first.values[0]}", first.values[1]
    return replace(result, place=first.place, values=values)


def _compare_weights(one: Path, other: Path) -> Comparison:
    """Checkpoints of the same steps, and the best models."""
    hashes = weight_hashes(one), weight_hashes(other)
    common = sorted(hashes[0].keys() & hashes[1].keys())
    best = best_hash(one), best_hash(other)
    parts = [f"{len(common)} checkpoints" if len(common) != 1 else "1 checkpoint"] if common else []
    parts += [BEST] if all(best) else []
    result = Comparison(what="weights", compared=", ".join(parts) or "nothing that both have")
    for step in common:
        if hashes[0][step] != hashes[1][step]:
            values = _short(hashes[0][step]), _short(hashes[1][step])
            return replace(result, place=f"step {step}", values=values)
    if best[0] and best[1] and best[0] != best[1]:
        return replace(result, place=BEST, values=(_short(best[0]), _short(best[1])))
    return result


def _place_in_time(comparison: Comparison) -> float:
    words = comparison.place.split()
    return float(words[1]) if words[0] == "step" else float("inf")


def _short(digest: str) -> str:
    return digest[:SHOWN_DIGITS]
