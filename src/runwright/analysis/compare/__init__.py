"""Significance tests between runs: is one better than the other, and by how much."""
