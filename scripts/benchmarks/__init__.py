"""The parts of scripts/benchmark.py: one module for each, and what they measure with."""
