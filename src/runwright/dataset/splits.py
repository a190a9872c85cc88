"""Seeded splits: pure functions of a seed, row ids and, if asked for, the strata to keep in proportion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from runwright.errors import DataError

_MAX_STRATA = 1000
_QUANTILE_BINS = 10
_BLOCK = 100_000  # rows whose keys are Python objects at a time


def random_order(row_ids: np.ndarray, *, seed: int, purpose: str) -> np.ndarray:
    """Positions of `row_ids` in random order: each row's rank depends only on the seed, purpose and its id.

    Adding or removing rows leaves the order of the others as it was.
    """
    prefix = f"{seed}:{purpose}:".encode()
    keys = np.empty(len(row_ids), dtype=np.uint64)
    for start in range(0, len(row_ids), _BLOCK):
        ids = row_ids[start : start + _BLOCK].tolist()
        digests = [hashlib.blake2b(prefix + str(row_id).encode(), digest_size=8).digest() for row_id in ids]
        keys[start : start + len(ids)] = np.frombuffer(b"".join(digests), dtype=">u8")
    # Equal 64-bit keys are ordered by row id, so that the order never depends on the sort.
    return np.lexsort((row_ids, keys))


def hold_out(
    row_ids: np.ndarray, shares: Mapping[str, float], *, seed: int, strata: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Positions of the rows of each split named in `shares`, and of the rest as `train`, each ascending.

    A share below 1 is a part of the rows, rounded to the nearest; from 1 on, a number of rows. With
    `strata` [N] int64, each split holds each stratum in proportion, as near as whole rows allow, and every
    stratum keeps a row for training where that is possible.
    """
    counts = {name: _count(name, share, len(row_ids)) for name, share in shares.items()}
    if sum(counts.values()) >= len(row_ids):
        taken = " + ".join(f"{count} for {name}" for name, count in counts.items())
        problem = f"{taken} leaves nothing of {len(row_ids)} rows to train on; lower dataset.holdout"
        raise DataError(problem, split="train")
    order = random_order(row_ids, seed=seed, purpose="holdout")
    groups = [order] if strata is None else [order[strata[order] == stratum] for stratum in np.unique(strata)]
    sizes = np.array([len(group) for group in groups])
    taken = np.zeros(len(groups), dtype=np.int64)
    result = {}
    for name, count in counts.items():
        # Every group keeps a row for training where that is possible.
        shares_of_groups = whole_counts(sizes, count, room=np.maximum(sizes - 1, 0) - taken)
        parts = [group[t : t + n] for group, t, n in zip(groups, taken, shares_of_groups, strict=True)]
        result[name] = np.sort(np.concatenate(parts))
        taken += shares_of_groups
    rest = np.sort(np.concatenate([group[start:] for group, start in zip(groups, taken, strict=True)]))
    return {"train": rest, **result}


def whole_counts(shares: np.ndarray, total: int, *, room: np.ndarray | None = None) -> np.ndarray:
    """Whole numbers that add up to `total`, each within one of its share of it, [K] int64.

    The largest remainders are rounded up; of equal ones the first. No number exceeds its `room` while others
    have some left; beyond that, all rooms grow one by one.
    """
    ideal = total * shares / shares.sum()
    room = np.full(len(shares), total) if room is None else room
    counts = np.minimum(np.floor(ideal).astype(np.int64), room)
    while (missing := total - int(counts.sum())) > 0:
        below = np.flatnonzero(counts < room)
        if not len(below):
            room = room + 1
            continue
        first = below[np.argsort(counts[below] - ideal[below], kind="stable")]
        counts[first[:missing]] += 1
    return counts


def _count(name: str, share: float, num_rows: int) -> int:
    count = int(share) if share >= 1 else round(share * num_rows)
    if share and not count:
        raise DataError(f"a share of {share} of {num_rows} rows is less than one row", split=name)
    return count


def strata_of(values: Sequence[object], *, column: str) -> np.ndarray:
    """A stratum number for each value: one per distinct value, or tenths where numbers are all different.

    Raises DataError where a column has too many distinct values to keep in proportion.
    """
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numeric and len(set(values)) > _QUANTILE_BINS * 2:
        numbers = np.asarray(values, dtype=np.float64)
        edges = np.quantile(numbers, np.linspace(0, 1, _QUANTILE_BINS + 1)[1:-1])
        return np.searchsorted(edges, numbers, side="right").astype(np.int64)
    codes: dict[str, int] = {}
    strata = np.array([codes.setdefault(repr(value), len(codes)) for value in values], dtype=np.int64)
    if len(codes) > _MAX_STRATA:
        problem = f"{len(codes)} different values are too many to stratify by (at most {_MAX_STRATA})"
        raise DataError(problem, column=column)
    return strata
