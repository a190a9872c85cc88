from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from runwright.report.page.charts import (
    Curve,
    classes_chart,
    correlation,
    data_numbers,
    lengths_chart,
    loss_chart,
    matrix_chart,
    metric_charts,
    prediction_chart,
    smoothed,
    threshold_chart,
    training_charts,
)
from runwright.report.plots import make_figure, plain, save_plots


def size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        colours = image.convert("RGB").getcolors(maxcolors=2**24)
        assert colours is not None
        assert len(colours) > 10  # something is drawn
        return image.size


@pytest.fixture
def curves() -> dict[str, Curve]:
    steps, some = np.arange(1, 101), np.arange(20, 101, 20)
    return {
        "train/loss": (steps, np.exp(-steps / 30)),
        "train/learning_rate": (steps, np.linspace(3e-5, 0, 100)),
        "train/gradient_norm": (steps, np.ones(100)),
        "validation/loss": (some, np.exp(-some / 30)),
        "validation/f1_macro": (some, some / 100),
        "validation/f1_macro/$odd_{name": (some, some / 200),
    }


def plot_curves(folder: Path, curves: dict[str, Curve]) -> dict[str, Path]:
    losses, metrics = loss_chart(curves, best_step=80), metric_charts(curves, best_step=80)
    return save_plots(folder, {"loss": [losses], "metrics": metrics, "training": training_charts(curves)})


def test_a_run_leaves_its_curves(tmp_path: Path, curves: dict[str, Curve]) -> None:
    written = plot_curves(tmp_path / "plots", curves)
    assert sorted(written) == ["loss", "metrics", "training"]
    assert all(size(path)[0] > 600 for path in written.values())
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_what_was_not_recorded_has_no_plot(tmp_path: Path) -> None:
    assert plot_curves(tmp_path, {}) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values", [[np.nan], [np.nan, np.inf], [0.0], [1.0, 1.0], [-1.0, 1e30], [np.inf, 2.0, -np.inf]]
)
def test_odd_losses_can_be_drawn(tmp_path: Path, values: list[float]) -> None:
    steps = np.arange(1, len(values) + 1)
    curves = {"train/loss": (steps, np.array(values)), "train/learning_rate": (steps, np.array(values))}
    written = plot_curves(tmp_path, curves)
    assert written["loss"].stat().st_size > 1000


def test_smoothing_keeps_a_line_and_leaves_out_what_is_no_number() -> None:
    line = np.arange(200.0)
    assert np.allclose(smoothed(line)[10:-10], line[10:-10])
    line[50] = np.nan
    assert np.isfinite(smoothed(line)).all()
    assert smoothed(np.array([5.0])).tolist() == [5.0]


def test_confusion_counts_agree_with_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    expected, predicted = rng.integers(0, 7, 500), rng.integers(0, 7, 500)
    expected[:100] = -100  # no label
    chart = matrix_chart("test", predicted, expected, list("abcdefg"))
    assert chart is not None
    counts = np.zeros((7, 7), dtype=int)
    for row, column, count in chart.data["cells"]:
        counts[row, column] = count
    assert np.array_equal(counts, confusion_matrix(expected[100:], predicted[100:], labels=range(7)))


@pytest.mark.parametrize("num_classes", [1, 2, 12, 30, 150])
def test_classes_of_any_number_have_a_confusion_matrix(tmp_path: Path, num_classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = [f"class $ {index} 中文 🙂" for index in range(num_classes)]
    expected = rng.integers(0, num_classes, 300)
    chart = prediction_chart("test", expected, expected, labels=labels)
    width, height = size(save_plots(tmp_path, {"confusion": [chart]})["confusion"])
    assert max(width, height) < 2200


@pytest.mark.parametrize("group_names", [[], ["tweets", "products", "movies", "news"]])
def test_numbers_have_a_scatter_with_a_colour_for_each_group(tmp_path: Path, group_names: list[str]) -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=5000)
    groups = rng.integers(0, 4, 5000) if group_names else None
    chart = prediction_chart("a", expected * 0.5, expected, groups=groups, group_names=group_names)
    assert size(save_plots(tmp_path, {"regression": [chart]})["regression"])[0] > 600


def test_sets_and_nothing_have_no_plot() -> None:
    sets = np.zeros((4, 3), dtype=bool)
    assert prediction_chart("t", sets, sets, labels=list("abc")) is None
    assert prediction_chart("t", np.zeros(0), np.zeros(0)) is None


def test_correlation_agrees_with_scipy_and_is_undefined_without_variation() -> None:
    from scipy.stats import pearsonr

    rng = np.random.default_rng(0)
    first, second = rng.normal(size=50), rng.normal(size=50)
    assert correlation(first, second) == pytest.approx(pearsonr(first, second)[0])
    assert np.isnan(correlation(first, np.ones(50)))


@pytest.mark.parametrize("max_length", [None, 16, 512])
def test_the_data_has_lengths_and_classes(tmp_path: Path, max_length: int | None) -> None:
    rng = np.random.default_rng(0)
    lengths = {
        "train": rng.integers(3, 200, 1000),
        "validation": rng.integers(3, 50, 10),
        "empty": np.zeros(0, int),
    }
    numbers = data_numbers(
        lengths,
        max_length=max_length,
        class_counts={"train": [10, 990, 0], "validation": [5, 5, 0]},
        labels=["no", "yes", "maybe"],
    )
    charts = {"lengths": [lengths_chart(numbers)], "classes": [classes_chart(numbers)]}
    written = save_plots(tmp_path, charts)
    assert sorted(written) == ["classes", "lengths"]
    assert all(size(path)[0] > 600 for path in written.values())


def test_no_texts_have_no_plot() -> None:
    numbers = data_numbers({"train": np.zeros(0, int)}, max_length=8, class_counts={}, labels=())
    assert lengths_chart(numbers) is classes_chart(numbers) is None


def test_text_is_shown_as_it_is() -> None:
    assert plain("a $b$\nc") == r"a \$b\$ c"
    assert plain("x" * 50, longest=10) == "xxxxxxxxx…"


THRESHOLDS = [
    {"threshold": -1.0, "f1": 0.5, "answered": 0.0, "best": False, "used": True},
    {"threshold": 2.0, "f1": 0.75, "answered": 1.0, "best": True, "used": False},
]


def test_every_metric_is_drawn_over_thresholds_and_both_rows_are_marked() -> None:
    (axes,) = make_figure([threshold_chart("Metrics at each threshold", THRESHOLDS)]).axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert lines["f1"] == ([-1.0, 2.0], [0.5, 0.75])
    assert lines["answered"] == ([-1.0, 2.0], [0.0, 1.0])
    assert sorted(line.get_xdata()[0] for line in axes.lines[2:]) == [-1.0, 2.0]
