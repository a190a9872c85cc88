"""Counts over any number of values in memory of a fixed size, with what is known of their error."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

EXACT_BELOW = 8192  # lengths up to here have a count of their own
GROWTH = 1.01  # beyond, a bucket is 1 % wider than the one before
LONGEST = 1e9
NO_LABEL = 0  # in place of a label's hash


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Different keys, ascending by hash, with what is known of the rows that have each; positions of rows."""

    hashes: np.ndarray  # [K] uint64
    rows: np.ndarray  # [K] int64, how many have the key
    first: np.ndarray  # [K] int64
    second: np.ndarray  # [K] int64, -1: there is only one
    label: np.ndarray  # [K] uint64, hash of the first label there is; NO_LABEL: none
    first_labelled: np.ndarray  # [K] int64, of that label
    other_label: np.ndarray  # [K] int64, of the first other label; -1: there is none

    @classmethod
    def of_rows(cls, hashes: np.ndarray, labels: np.ndarray, positions: np.ndarray) -> Keys:
        """One for each row, in the order of the rows."""
        none = np.full(len(hashes), -1)
        return cls(
            hashes=hashes, rows=np.ones(len(hashes), np.int64), first=positions, second=none,
            label=labels, first_labelled=positions, other_label=none,
        )  # fmt: skip

    def __getitem__(self, chosen: np.ndarray) -> Keys:
        return Keys(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


class KeySample:
    """A random part of the keys, at most `size` of them, with what is known of all rows that have them.

    Which keys are kept depends on their hashes alone, so that samples of different splits hold the same keys
    and what is equal is found (Gibbons 2001). All keys are kept while they fit; `scale` is how many keys each
    stands for. A key takes the same room however many rows have it.
    """

    def __init__(self, size: int = 2**20) -> None:
        self.size = size
        self._level = 0
        self._keys = Keys.of_rows(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))
        self._waiting: list[Keys] = []
        self._num_waiting = 0

    @property
    def level(self) -> int:
        """How often the part of the keys that is kept was halved."""
        self._settle()
        return self._level

    @property
    def scale(self) -> int:
        """How many keys each of those kept stands for; 1: nothing is an estimate."""
        return 1 << self.level

    def add(self, hashes: np.ndarray, labels: np.ndarray, positions: np.ndarray) -> None:
        """Take in rows after those before: hashes of keys and of labels [N] uint64, positions [N] int64."""
        chosen = hashes <= _limit(self._level)
        self._waiting.append(Keys.of_rows(hashes[chosen], labels[chosen], positions[chosen]))
        self._num_waiting += int(chosen.sum())
        if self._num_waiting > max(4096, self.size // 8):
            self._settle()

    def at_level(self, level: int) -> Keys:
        """What is kept at a level no lower than its own."""
        self._settle()
        return self._keys[self._keys.hashes <= _limit(max(level, self._level))]

    def _settle(self) -> None:
        if self._waiting:
            self._keys = _joined([self._keys, *self._waiting])
            self._waiting, self._num_waiting = [], 0
        while len(self._keys.hashes) > self.size:
            self._level += 1
            self._keys = self._keys[self._keys.hashes <= _limit(self._level)]


def _joined(parts: Sequence[Keys]) -> Keys:
    """Each key once; the rows of a part come after those of the parts before."""
    every = Keys(
        **{field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Keys)}
    )
    num = len(every.hashes)
    if not num:
        return every
    every = every[np.argsort(every.hashes, kind="stable")]
    starts = np.flatnonzero(np.append(True, every.hashes[1:] != every.hashes[:-1]))
    sizes = np.diff(np.append(starts, num))
    groups = np.repeat(np.arange(len(starts)), sizes)

    def least(values: np.ndarray, where: np.ndarray, *, none: np.ndarray | int) -> np.ndarray:
        never = np.iinfo(np.int64).max
        found = np.minimum.reduceat(np.where(where, values, never), starts)
        return np.where(found == never, none, found)

    labelled = every.label != NO_LABEL
    places = least(np.arange(num), labelled, none=starts)
    label = every.label[places]
    differs = labelled & (every.label != label[groups])
    others = np.where(differs, every.first_labelled, every.other_label)
    others = np.where(differs & (every.other_label >= 0), np.minimum(others, every.other_label), others)
    following = every.first[np.minimum(starts + 1, num - 1)]
    second = np.where(sizes > 1, following, -1)
    return Keys(
        hashes=every.hashes[starts],
        rows=np.add.reduceat(every.rows, starts),
        first=every.first[starts],
        second=np.where(every.second[starts] >= 0, every.second[starts], second),
        label=label,
        first_labelled=every.first_labelled[places],
        other_label=least(others, others >= 0, none=-1),
    )


def hashes_of(contents: Iterable[bytes]) -> np.ndarray:
    """The hash of each, [N] uint64."""
    return np.fromiter((hash_of(content) for content in contents), dtype=np.uint64)


def _limit(level: int) -> np.uint64:
    return np.uint64((1 << (64 - level)) - 1)
