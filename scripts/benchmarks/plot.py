"""Pictures of measured values: ratios as bars with their range, and seconds and memory against rows."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path

SCALE = re.compile(r"(?P<command>.+), (?P<rows>[\d,]+) rows(?P<peak>: peak GiB)?")


def draw(results: Mapping[str, Mapping[str, list[float]]], path: Path) -> None:
    """Ratios of all parts, or of the part scale alone its curves; the ending of `path` names the form."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "runwright", "font.size": 9})
    from matplotlib import pyplot

    if "scale" in results:
        figure, (seconds, memory) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for command, points in curves(results["scale"], peak=False).items():
            seconds.loglog(*zip(*points, strict=True), marker="o", label=command)
        for command, points in curves(results["scale"], peak=True).items():
            memory.semilogx(*zip(*points, strict=True), marker="o", label=command)
        seconds.set(xlabel="rows", ylabel="seconds", ylim=(1, None))
        memory.set(xlabel="rows", ylabel="peak GiB", ylim=(0, None))
        seconds.legend(frameon=False)
    else:
        ratios = {
            f"{part}: {name.removesuffix(' ratio')}": values
            for part, measured in results.items()
            for name, values in measured.items()
            if name.endswith("ratio")
        }
        figure, axis = pyplot.subplots(figsize=(9, 0.8 + 0.32 * len(ratios)), layout="constrained")
        middles = [statistics.median(values) for values in ratios.values()]
        low = [middle - min(values) for middle, values in zip(middles, ratios.values(), strict=True)]
        high = [max(values) - middle for middle, values in zip(middles, ratios.values(), strict=True)]
        axis.barh(list(ratios), middles, xerr=(low, high), color="#4c78a8", capsize=2)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.invert_yaxis()
        axis.set_xlabel("ratio: median and range")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def curves(measured: Mapping[str, list[float]], *, peak: bool) -> dict[str, list[tuple[int, float]]]:
    """Of each command its (rows, median), by rows."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, values in measured.items():
        match = SCALE.fullmatch(name)
        if match and bool(match["peak"]) == peak:
            point = (int(match["rows"].replace(",", "")), statistics.median(values))
            found.setdefault(match["command"], []).append(point)
    return found
