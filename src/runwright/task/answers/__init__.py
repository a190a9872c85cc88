"""Extractive question answering: columns, windows, results."""
