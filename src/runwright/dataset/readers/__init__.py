"""Readers of files and hub data sets, one module a format."""
