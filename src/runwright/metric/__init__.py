"""Metrics: functions of predictions and of how often each example counts, named by YAML in `conf/metric`."""
