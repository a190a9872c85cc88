"""Checks of `runwright doctor`: packages, machine, stores and runs; one finding a line."""
