"""How every plot looks: one style, colours that colour-blind people can tell apart, no global state."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette, without its yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#6B7280"
FAINT = "#D8DCE3"
DOTS_PER_INCH = 130


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 4.2
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes in reading order; `width` and `height` in inches, of the whole."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for each in axes:
        _style(each)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG; the folder is made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes: no reason to lose the plot.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasAgg(figure).print_figure(path, dpi=DOTS_PER_INCH)
    return path


def draw_shares(axes: Axes, values: np.ndarray, *, bins: Any, index: int, label: str) -> None:
    """The outline of a histogram in per cent of the values; `index` chooses the colour."""
    axes.hist(
        values,
        bins=bins,
        weights=[100 / len(values)] * len(values),
        histtype="step",
        color=colour(index),
        linewidth=1.8,
        label=label,
    )


def title(axes: Axes, text: str, *, below: str = "") -> None:
    """What is seen, in bold, and under it what a reader must know to judge it."""
    axes.set_title(plain(text), loc="left", fontsize=12, fontweight="bold", pad=22 if below else 8)
    if below:
        axes.annotate(
            plain(below),
            (0, 1),
            xytext=(0, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9.5,
            color=GREY,
        )


def legend(axes: Axes, **where: object) -> None:
    """A legend without a frame, where there is more than nothing to say."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        options: dict[str, object] = {"frameon": False, "fontsize": 9.5} | where
        axes.legend(**options)  # type: ignore[arg-type]


def plain(text: object, *, longest: int = 200) -> str:
    """Text that matplotlib shows as it is: `$` starts no formula, line breaks do not break the layout."""
    flat = " ".join(str(text).split()).replace("$", r"\$")
    return flat if len(flat) <= longest else f"{flat[: longest - 1]}…"


def colour(index: int) -> str:
    """The colour of the n-th series; beyond the palette it starts again."""
    return COLOURS[index % len(COLOURS)]


def write_ticks(axis: Axis, form: str) -> None:
    """Ticks in a form such as `,.0f` for 12,000 or `g` for 2e-05."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: format(value, form)))


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors="#374151", labelsize=9.5)
    axes.grid(visible=True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)


def names_that_fit(names: Sequence[str], *, longest: int = 28) -> list[str]:
    """Labels short enough for an axis."""
    return [plain(name, longest=longest) for name in names]
