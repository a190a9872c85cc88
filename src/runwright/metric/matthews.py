"""Matthews correlation coefficient, in the form for any number of classes."""

from __future__ import annotations

import numpy as np

from runwright.metric.class_counts import ClassCountMetric, ClassCounts, ratio


class Matthews(ClassCountMetric):
    """Correlation between expected and predicted class, from -1 to 1 (Gorodkin 2004, R_K).

    0 where only one class is expected or only one predicted, as scikit-learn and GLUE have it; NaN for no
    example.
    """

    suits = ("single_label",)

    def figure(self, counts: ClassCounts) -> np.ndarray:
        """R_K of each set of counts."""
        num_examples = counts.num_examples
        total = num_examples.astype(np.float64) ** 2
        matched = counts.matched.sum(axis=-1).astype(np.float64) * num_examples
        expected, predicted = counts.expected.astype(np.float64), counts.predicted.astype(np.float64)
        covariance = matched - (expected * predicted).sum(axis=-1)
        spread_expected = total - (expected**2).sum(axis=-1)
        spread_predicted = total - (predicted**2).sum(axis=-1)
        correlation = ratio(covariance, np.sqrt(spread_expected) * np.sqrt(spread_predicted), undefined=0.0)
        return np.where(num_examples > 0, correlation, np.nan)
