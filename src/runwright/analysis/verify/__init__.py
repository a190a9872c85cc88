"""Measure whether the promises hold for one experiment."""
