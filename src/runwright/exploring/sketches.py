"""Counts over any number of values in memory of a fixed size, with what is known of their error."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

EXACT_BELOW = 8192  # lengths up to here have a count of their own
GROWTH = 1.01  # beyond, a bucket is 1 % wider than the one before
LONGEST = 1e9


def hash_of(content: bytes) -> int:
    """64 bits that no other content has, for all purposes here."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class LengthHistogram:
    """Whole numbers from 0 on: exact count, sum and maximum; quantiles within 1 %, exact below 8,192."""

    def __init__(self) -> None:
        num_wide = math.ceil(math.log(LONGEST / EXACT_BELOW) / math.log(GROWTH)) + 1
        self.counts = np.zeros(EXACT_BELOW + num_wide, dtype=np.int64)
        self.num = 0
        self.total = 0
        self.longest = 0

    def add(self, lengths: np.ndarray) -> None:
        """Take in some lengths, [N] int."""
        if not len(lengths):
            return
        self.num += len(lengths)
        self.total += int(lengths.sum())
        self.longest = max(self.longest, int(lengths.max()))
        wide = np.log(np.maximum(lengths, EXACT_BELOW) / EXACT_BELOW) / math.log(GROWTH)
        places = np.where(lengths < EXACT_BELOW, lengths, EXACT_BELOW + wide.astype(np.int64))
        self.counts += np.bincount(np.minimum(places, len(self.counts) - 1), minlength=len(self.counts))

    def quantile(self, share: float) -> int:
        """The length that this share of all does not exceed; 0 where there are none."""
        if not self.num:
            return 0
        rank = max(1, math.ceil(share * self.num))
        place = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(self._length_at(place), self.longest)

    @property
    def mean(self) -> float:
        """The mean; 0 where there are none."""
        return self.total / self.num if self.num else 0.0

    def share_over(self, limit: int) -> float:
        """The share of lengths above a limit below 8,192."""
        return 1 - float(self.counts[: limit + 1].sum()) / self.num if self.num else 0.0

    def share_lost(self, limit: int) -> float:
        """The share of the sum that lies beyond a limit below 8,192 of each length."""
        kept = int((np.arange(limit + 1) * self.counts[: limit + 1]).sum())
        kept += limit * (self.num - int(self.counts[: limit + 1].sum()))
        return 1 - kept / self.total if self.total else 0.0

    def _length_at(self, place: int) -> int:
        if place < EXACT_BELOW:
            return place
        return round(EXACT_BELOW * GROWTH ** (place - EXACT_BELOW + 0.5))


class DistinctCounter:
    """How many different hashes there were: exact up to `size`, then within about 1 / sqrt(size).

    The k-th smallest of the hashes tells how densely they lie (Bar-Yossef et al. 2002).
    """

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self._smallest = np.empty(0, dtype=np.uint64)

    def add(self, hashes: np.ndarray) -> None:
        """Take in some hashes, [N] uint64."""
        self._smallest = np.union1d(self._smallest, hashes)[: self.size]

    @property
    def is_exact(self) -> bool:
        """Whether the count is no estimate."""
        return len(self._smallest) < self.size

    @property
    def count(self) -> int:
        """The number of different hashes."""
        if self.is_exact:
            return len(self._smallest)
        return round((self.size - 1) / (float(self._smallest[-1]) / 2.0**64))


class FrequentValues:
    """The most frequent values; each count is at most `error` too low, 0 while all of them fit.

    Misra and Gries 1982, merged batch by batch as Agarwal et al. 2012 do.
    """

    def __init__(self, size: int = 2000) -> None:
        self.size = size
        self.counts: Counter[str] = Counter()
        self.num = 0
        self.error = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Take in some values with how often each came."""
        self.counts.update(counts)
        self.num += sum(counts.values())
        if len(self.counts) > self.size:
            cut = sorted(self.counts.values(), reverse=True)[self.size]
            self.error += cut
            self.counts = Counter({value: n - cut for value, n in self.counts.items() if n > cut})

    def most_common(self, count: int | None = None) -> list[tuple[str, int]]:
        """(value, count), the most frequent first; equal counts in the order of the values."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return ordered[:count]


class KeySample:
    """Rows by the hash of a key: all rows of a random part of the keys, at most `size` rows.

    Which keys are kept depends on their hashes alone, so that samples of different splits hold the same keys
    and what is equal is found (Gibbons 2001). All rows are kept while they fit; `scale` is how many rows each
    stands for.
    """

    def __init__(self, size: int = 2**20) -> None:
        self.size = size
        self._level = 0
        self._columns = [np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64)]
        self._waiting: list[tuple[np.ndarray, ...]] = []
        self._num_waiting = 0

    @property
    def level(self) -> int:
        """How often the part of the keys that is kept was halved."""
        self._settle()
        return self._level

    @property
    def scale(self) -> int:
        """How many rows each of those kept stands for; 1: nothing is an estimate."""
        return 1 << self.level

    def add(self, hashes: np.ndarray, labels: np.ndarray, positions: np.ndarray) -> None:
        """Take in rows: hashes of keys and of labels [N] uint64, positions [N] int64."""
        chosen = hashes <= _limit(self._level)
        self._waiting.append((hashes[chosen], labels[chosen], positions[chosen]))
        self._num_waiting += int(chosen.sum())
        if self._num_waiting > max(4096, self.size // 8):
            self._settle()

    def at_level(self, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hashes, label hashes and positions of what is kept at a level no lower than its own."""
        self._settle()
        hashes, labels, positions = self._columns
        chosen = hashes <= _limit(max(level, self.level))
        return hashes[chosen], labels[chosen], positions[chosen]

    def _settle(self) -> None:
        if self._waiting:
            parts = [self._columns, *self._waiting]
            self._columns = [np.concatenate([part[i] for part in parts]) for i in range(3)]
            self._waiting, self._num_waiting = [], 0
        while len(self._columns[0]) > self.size:
            self._level += 1
            chosen = self._columns[0] <= _limit(self._level)
            self._columns = [column[chosen] for column in self._columns]


def hashes_of(contents: Iterable[bytes]) -> np.ndarray:
    """The hash of each, [N] uint64."""
    return np.fromiter((hash_of(content) for content in contents), dtype=np.uint64)


def _limit(level: int) -> np.uint64:
    return np.uint64((1 << (64 - level)) - 1)
