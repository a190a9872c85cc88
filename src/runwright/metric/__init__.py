"""Streaming figures: update, merge, compute; one YAML in `conf/metric` is one figure."""
