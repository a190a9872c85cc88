from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from runwright.report.page.charts import (
    classes_chart,
    correlation,
    lengths_chart,
    loss_chart,
    matrix_chart,
    training_charts,
)
from runwright.report.page.document import Section, render


@pytest.mark.parametrize(
    "values", [[np.nan], [np.nan, np.inf], [0.0], [1.0, 1.0], [-1.0, 1e30], [np.inf, 2.0, -np.inf]]
)
def test_odd_losses_can_be_drawn(values: list[float]) -> None:
    curve = np.arange(1, len(values) + 1), np.array(values)
    curves = {"train/loss": curve, "train/learning_rate": curve}
    charts = [loss_chart(curves, best_step=None), *training_charts(curves)]
    page = render([Section("curves", "Curves", [charts])], title="", heading="", lines=[])
    data: list[dict[str, Any]] = json.loads(page.partition('id="report-data">')[2].partition("</script>")[0])[
        "charts"
    ]
    shown = [value if np.isfinite(value) else None for value in values]
    assert [chart["series"][0]["y"] for chart in data] == [shown] * (1 + (len(values) > 1))


def test_confusion_counts_agree_with_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    expected, predicted = rng.integers(0, 7, 500), rng.integers(0, 7, 500)
    chart = matrix_chart("test", predicted, expected, list("abcdefg"))
    assert chart is not None
    counts = np.zeros((7, 7), dtype=int)
    for row, column, count in chart.data["cells"]:
        counts[row, column] = count
    assert np.array_equal(counts, confusion_matrix(expected, predicted, labels=range(7)))


def test_correlation_agrees_with_scipy_and_is_undefined_without_variation() -> None:
    from scipy.stats import pearsonr

    rng = np.random.default_rng(0)
    first, second = rng.normal(size=50), rng.normal(size=50)
    assert correlation(first, second) == pytest.approx(pearsonr(first, second)[0])
    assert np.isnan(correlation(first, np.ones(50)))


def test_no_texts_have_no_plot() -> None:
    assert lengths_chart({"train": np.zeros(0, int)}, max_length=8) is classes_chart({}, ()) is None
