"""Whole numbers of rows in given proportions."""

from __future__ import annotations

import math

import numpy as np


def shares_by_temperature(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """Shares in proportion to sizes ** (1 / temperature), [K] float64."""
    # From logarithms, so that a low temperature of large sets does not overflow.
    logs = np.log(np.maximum(sizes, 1).astype(np.float64)) / temperature
    powers = np.exp(logs - logs.max())
    return powers / powers.sum()


def whole_counts(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, each within one of its share of it, [K] int64.

    The largest remainders are rounded up; of equal ones the first.
    """
    ideal = shares / shares.sum() * total
    counts = np.floor(ideal).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - ideal, kind="stable")[:missing]] += 1
    return counts


def largest_without_repeats(shares: np.ndarray, sizes: np.ndarray) -> int:
    """A total whose whole counts are within the sizes: one row more would ask too much of some part."""
    total = math.floor(float((sizes / shares).min())) + len(sizes)
    while total > 1 and (whole_counts(shares, total) > sizes).any():
        total -= 1
    return total
