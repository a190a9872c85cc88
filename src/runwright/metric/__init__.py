"""Metrics: functions of predictions and of how often each example counts, named by YAML in `conf/metric`."""

from typing import Any


def as_evaluate(name: str, **options: Any) -> Any:
    """A shipped metric as an `evaluate.Metric`; see `evaluate_adapter`, which is imported when called."""
    from runwright.metric.evaluate_adapter import as_evaluate

    return as_evaluate(name, **options)
