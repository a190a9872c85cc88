"""Metrics: functions of predictions and of how often each example counts, named by YAML in `conf/metric`."""

from __future__ import annotations

from typing import Any


def as_evaluate(name: str, **options: Any) -> Any:
    """A shipped metric, such as "span_f1", as an `evaluate.Metric`: it can be added to, computed, combined.

    It takes what the module of that kind in `evaluate` takes: classes or sets of them, numbers,
    prediction_scores, tags (compute also takes `scheme` and `repair`), texts with one or several references,
    or the answers of SQuAD (`rules`); others take columns of their own, such as `ranks`.
    """
    from runwright.metric.for_evaluate import shipped_metric  # deferred: `evaluate` takes seconds

    return shipped_metric(name, options)
