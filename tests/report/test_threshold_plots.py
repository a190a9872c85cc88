"""Figures over a threshold."""

from __future__ import annotations

from pathlib import Path

import pytest

from runwright.report import threshold_plots
from runwright.report.canvas import save

ROWS = [
    {"threshold": -1.0, "f1": 0.5, "answered": 0.0, "best": False, "used": True},
    {"threshold": 2.0, "f1": 0.75, "answered": 1.0, "best": True, "used": False},
]


def test_every_figure_is_drawn_and_both_rows_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def keep(figure: object, path: Path) -> Path:
        drawn.append(figure)
        return save(figure, path)  # type: ignore[arg-type]

    monkeypatch.setattr(threshold_plots, "save", keep)
    path = threshold_plots.plot_thresholds(tmp_path / "a.png", ROWS, subtitle="validation")
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn[0].axes  # type: ignore[attr-defined]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert lines["f1"] == ([-1.0, 2.0], [0.5, 0.75])
    assert lines["answered"] == ([-1.0, 2.0], [0.0, 1.0])
    assert sorted(line.get_xdata()[0] for line in axes.lines[2:]) == [-1.0, 2.0]
