"""Charts of a run's page as PNG files: one style, colours that colour-blind people can tell apart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runwright.report.page.charts import smoothed
from runwright.report.terminal import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from runwright.report.page.document import Chart

# Okabe and Ito's palette, without its yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#6B7280"
DOTS_PER_INCH = 130
MAX_CELLS_WITH_COUNTS = 16**2  # beyond, a cell has no room for a number
MAX_CLASS_NAMES = 80
SHARES = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)


def save_plots(folder: Path, plots: Mapping[str, Sequence[Chart | None]]) -> dict[str, Path]:
    """Write a PNG for each list of charts under its name; one without any chart is left out."""
    shown = {name: [chart for chart in panels if chart] for name, panels in plots.items()}
    return {name: draw(folder / f"{name}.png", panels) for name, panels in shown.items() if panels}


def draw(path: Path, panels: Sequence[Chart]) -> Path:
    """Write charts as one PNG, two side by side; the folder is made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes: no reason to lose the plot.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasAgg(make_figure(panels)).print_figure(path, dpi=DOTS_PER_INCH)
    return path


def make_figure(panels: Sequence[Chart]) -> Figure:
    """Draw charts as panels of one figure, each with its title and what a reader must know to judge it."""
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = _size(panels[0]) if len(panels) == 1 else (5.2 * columns + 0.5, 3.1 * rows + 0.3)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, chart in zip(grid, panels, strict=False):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        axes.tick_params(colors="#374151", labelsize=9.5)
        axes.grid(visible=True, color="#D8DCE3", linewidth=0.7)
        axes.set_axisbelow(True)
        {"curves": _curves, "scatter": _scatter, "matrix": _matrix, "bars": _bars}[chart.kind](
            axes, chart.data
        )
        pad = 22 if chart.about else 8
        axes.set_title(plain(chart.title), loc="left", fontsize=12, fontweight="bold", pad=pad)
        at = {"xy": (0, 1), "xytext": (0, 7), "xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(plain(chart.about), **at, fontsize=9.5, color=GREY)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(frameon=False, fontsize=9.5, loc="lower right" if chart.kind == "bars" else "best")
    for unused in grid[len(panels) :]:
        unused.set_visible(False)
    return figure


def _size(chart: Chart) -> tuple[float, float]:
    """Width and height in inches."""
    names = chart.data.get("names", ())
    if chart.kind == "matrix":
        size = min(13.0, max(4.6, 2.6 + 0.62 * min(len(names), 12) + 0.11 * max(0, len(names) - 12)))
        return size + 0.7 + 0.06 * min(28, max(map(len, names))), size
    if chart.kind == "bars":
        return 8, max(2.4, 1.4 + len(names) * max(0.22, 0.13 * len(chart.data["series"])))
    return (5.6, 6.4) if chart.kind == "scatter" else (7.2, 4.2)


def _curves(axes: Axes, data: Mapping[str, Any]) -> None:
    visible = [np.zeros(1 if data.get("zero") else 0)]
    for index, series in enumerate(data["series"][: len(COLOURS)]):
        colour, values = COLOURS[index], np.array(series["y"], dtype=float)
        finite = values[np.isfinite(values)]
        if series.get("smooth") and len(finite):
            axes.plot(series["x"], values, color=colour, alpha=0.25, linewidth=1)
            # From 200 steps on the wildest half percent neither stretches the axis nor lifts the mean.
            finite = np.quantile(finite, [0.005, 0.995])
            values = smoothed(np.clip(values, *finite))
        looks: dict[str, Any] = (
            {"drawstyle": "steps-post"}
            if series.get("steps")
            else {"marker": "o" if series.get("points") else ""}
        )
        axes.plot(
            series["x"], values, color=colour, linewidth=2, markersize=5, label=plain(series["name"]), **looks
        )
        visible.append(finite)
    for mark in data["marks"]:
        axes.axvline(mark["x"], color=GREY, linestyle=":", linewidth=1.3, label=plain(mark["text"]))
    if len(values := np.concatenate(visible)):
        low, high = float(values.min()), float(values.max())
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    axes.set_xlabel(data["x"], fontsize=10)
    axes.set_ylabel(data.get("y", ""), fontsize=10)
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.02)


def _scatter(axes: Axes, data: Mapping[str, Any]) -> None:
    x, y = np.array(data["px"], dtype=float), np.array(data["py"], dtype=float)
    groups = np.array(data["group"] or [0] * len(x))
    crowd = min(1.0, 250 / len(x))  # fainter and smaller the more there are, so that density shows
    for index, name in enumerate(data["groups"] or [None]):
        mask = groups == index
        axes.scatter(
            x[mask],
            y[mask],
            s=8 + 14 * crowd,
            alpha=0.25 + 0.5 * crowd,
            color=COLOURS[index % len(COLOURS)],
            linewidths=0,
            label=name and plain(name),
        )
    both = np.concatenate([x, y])
    finite = both[np.isfinite(both)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    limits = low - margin, high + margin
    axes.plot(limits, limits, color=GREY, linestyle="--", linewidth=1.2)
    axes.set(xlim=limits, ylim=limits, xlabel=data["x"], ylabel=data["y"], aspect="equal")


def _matrix(axes: Axes, data: Mapping[str, Any]) -> None:
    """Expected classes in rows; the colour is the share of the row."""
    from matplotlib.colors import PowerNorm

    names = [plain(name, longest=28) for name in data["names"]]
    counts = np.zeros((len(names), len(names)), dtype=int)
    for row, column, count in data["cells"]:
        counts[row, column] = count
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root keeps a mistake of 1 % visible beside a diagonal of 90 %.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("share of the expected class", fontsize=9.5)
    bar.set_ticks(SHARES, labels=[f"{share:.0%}" for share in SHARES])
    axes.grid(visible=False)
    ticks = range(0, len(names), math.ceil(len(names) / MAX_CLASS_NAMES))
    shown, size = [names[tick] for tick in ticks], 9.5 if len(names) <= 20 else 6.5
    is_steep = len(names) > 6 or len(shown) * max(map(len, shown)) > 40
    axes.set_xticks(ticks, shown, fontsize=size, rotation=90 if is_steep else 0)
    axes.set_yticks(ticks, shown, fontsize=size)
    axes.set(xlabel="predicted", ylabel="expected")
    for row, column, count in data["cells"] if counts.size <= MAX_CELLS_WITH_COUNTS else ():
        share = shares[row, column]
        colour, size = "white" if share > 0.35 else "#1F2937", 10 if len(names) <= 8 else 7.5
        axes.text(
            column, row, f"{share:.0%}\n{count:,}", ha="center", va="center", fontsize=size, color=colour
        )


def _bars(axes: Axes, data: Mapping[str, Any]) -> None:
    positions, series = np.arange(len(data["names"])), data["series"]
    thickness = 0.8 / len(series)
    for index, split in enumerate(series):
        offset, colour = (index - (len(series) - 1) / 2) * thickness, COLOURS[index % len(COLOURS)]
        axes.barh(
            positions + offset, split["values"], height=thickness, color=colour, label=plain(split["name"])
        )
    axes.set_yticks(positions, [plain(name, longest=30) for name in data["names"]], fontsize=9)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.grid(visible=False, axis="y")
    # Room for the legend beside the short bars.
    axes.set(xlabel=data["x"], xlim=(0, 1.25 * max(max(split["values"]) for split in series) or 1))


def plain(text: object, *, longest: int = 200) -> str:
    """Text that matplotlib shows as it is: `$` starts no formula, line breaks do not break the layout."""
    return shorten(" ".join(str(text).split()).replace("$", r"\$"), longest)
