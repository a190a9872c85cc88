"""Batches as a pure function of (seed, step), with no sampler state to save or to lose.

The global batch of a step is a slice of a permutation of its epoch. It is cut by length into microbatches,
a pure function of the examples and the options: the same on any number of processes. Ranks take microbatches.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np

from runwright.store import bytes_digest
from runwright.trainer.ranks import ALONE, Ranks
from runwright.types import Batch, Example, Examples, Task

LEDGER_START = "0" * 32
Item = TypeVar("Item")


def derive_seed(*parts: int | str) -> int:
    """63 bits from the parts, the same on every machine, with no relation between neighbours.

    All randomness is a function of where in the run it is used, so that none of it needs to be saved. blake2b
    rather than `hash` (differs by process) or `seed + step` (streams of neighbours overlap).
    """
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Bounds of a microbatch; both None: a batch is not cut."""

    microbatch_size: int | None = None  # examples
    microbatch_tokens: int | None = None  # with padding, or real ones where nothing is padded
    padded: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Microbatch:
    """One forward and backward."""

    index: int  # in the whole batch, over all ranks: seeds its dropout
    count: float | tuple[float, ...]  # its part of the denominator, of each loss
    batch: Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBatch:
    """The global batch of one update as one rank sees it."""

    step: int  # from 0
    sizes: tuple[int, ...]  # examples of each microbatch, over all ranks
    microbatches: tuple[Microbatch, ...]  # this rank's
    num_examples: int  # over all ranks, like the following
    real_tokens: int
    padded_tokens: int
    ledger: str  # of this batch alone: hash of its example ids
    position: Mapping[str, Any] | None = None  # of a stream after this batch, for JSON
    fillers: tuple[Microbatch, ...] = ()  # to run besides with a weight of zero, where others have more

    @property
    def num_microbatches(self) -> int:
        """Microbatches of the whole batch, over all ranks."""
        return len(self.sizes)


def cut_batch(lengths: Sequence[int] | np.ndarray, cut: Cut) -> list[list[int]]:
    """Microbatches as lists of positions in the batch, longest first; equal lengths keep their order.

    `lengths` are [B], or [B, S] where an example has S sequences, which are padded one by one. A single
    example longer than `microbatch_tokens` is a microbatch of its own.
    """
    table = np.asarray(lengths, dtype=np.int64)
    table = table if table.ndim == 2 else table[:, None]
    sides, sizes = table.tolist(), table.sum(axis=1).tolist()
    order = np.argsort(-table.sum(axis=1), kind="stable").tolist()
    size = cut.microbatch_size or len(order)
    tokens = cut.microbatch_tokens or math.inf
    microbatches: list[list[int]] = []
    total, widest = 0, [0]  # tokens of the last microbatch, and its longest sequence of each kind
    for position in order:
        current = microbatches[-1] if microbatches else []
        wider = list(map(max, widest, sides[position]))
        total = (len(current) + 1) * sum(wider) if cut.padded else total + sizes[position]
        if current and len(current) < size and total <= tokens:
            current.append(position)
            widest = wider
        else:
            microbatches.append([position])
            total, widest = sizes[position], sides[position]
    return microbatches


def assign(costs: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Microbatches of each rank: the costliest first, always to the rank with the least so far."""
    loads = [0] * num_ranks
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        rank = loads.index(min(loads))
        loads[rank] += costs[index]
        shares[rank].append(index)
    return [sorted(share) for share in shares]


@dataclass(frozen=True, slots=True)
class Picked:
    """The examples of one global batch, from one window or more."""

    pieces: Sequence[tuple[Examples, np.ndarray]]  # examples, positions in them

    def column(self, name: str) -> np.ndarray:
        """`lengths`, `widths` or `example_ids` of the batch, [B] int64; widths may be [B, S]."""
        return np.concatenate([getattr(examples, name)[positions] for examples, positions in self.pieces])

    def fetch(self, wanted: Sequence[int]) -> list[Example]:
        """The examples at these positions of the batch, in this order."""
        fetched: dict[int, Example] = {}
        start = 0
        for examples, positions in self.pieces:
            inside = [index for index in wanted if start <= index < start + len(positions)]
            rows = examples.fetch([int(positions[index - start]) for index in inside])
            fetched.update(zip(inside, rows, strict=True))
            start += len(positions)
        return [fetched[index] for index in wanted]


def make_batch(
    step: int,
    picked: Picked,
    task: Task,
    *,
    cut: Cut,
    ranks: Ranks,
    seed: int,
    epoch: int,
    position: Mapping[str, Any] | None = None,
) -> StepBatch:
    """The batch as one rank sees it: cut into microbatches, of which it fetches and collates its own.

    Where the model is sharded, ranks with fewer microbatches than others get fillers.
    """

    def microbatch(index: int, positions: Sequence[int]) -> Microbatch:
        examples = task.augment(picked.fetch(positions), seed=seed, epoch=epoch)
        return Microbatch(index=index, count=task.count(examples), batch=task.collate(examples))

    lengths, widths = picked.column("lengths"), picked.column("widths")
    microbatches = cut_batch(widths if cut.microbatch_tokens and cut.padded else lengths, cut)
    costs = [
        len(places) * int(widths[places].max(axis=0).sum()) if cut.padded else int(lengths[places].sum())
        for places in microbatches
    ]
    shares = assign(costs, ranks.num_ranks)
    mine = shares[ranks.rank]
    missing = max(map(len, shares)) - len(mine) if ranks.sharded else 0
    shortest = microbatches[-1][-1:]
    return StepBatch(
        step=step,
        sizes=tuple(map(len, microbatches)),
        microbatches=tuple(microbatch(i, microbatches[i]) for i in mine),
        num_examples=len(lengths),
        real_tokens=int(lengths.sum()),
        padded_tokens=sum(costs),
        ledger=bytes_digest(picked.column("example_ids")),
        position=position,
        fillers=(microbatch(len(costs) - 1, shortest),) * missing if missing else (),
    )


@dataclass
class Batches:
    """The batches of one rank, prepared one step ahead in a thread."""

    examples: Examples
    task: Task
    _: KW_ONLY
    batch_size: int
    seed: int
    cut: Cut
    ranks: Ranks = ALONE
    _epoch: int = -1
    _permutation: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the examples; the last batch of it may be short."""
        return -(-len(self.examples) // self.batch_size)

    def positions(self, step: int) -> np.ndarray:
        """Positions in the data of the global batch of a step, [B] int64."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = np.random.Generator(np.random.Philox(derive_seed("order", self.seed, epoch)))
            self._permutation = generator.permutation(len(self.examples))
            self._epoch = epoch
        return self._permutation[index * self.batch_size : (index + 1) * self.batch_size]

    def at(self, step: int) -> StepBatch:
        """The batch of a step; costs the same at any step."""
        return make_batch(
            step,
            Picked([(self.examples, self.positions(step))]),
            self.task,
            cut=self.cut,
            ranks=self.ranks,
            seed=self.seed,
            epoch=step // self.steps_per_epoch,
        )

    def iterate(self, start: int, end: int) -> Iterator[StepBatch]:
        """Steps start to end - 1; each is prepared while the one before it is used."""
        return ahead(map(self.at, range(start, end)), "batches")


def ahead(items: Iterator[Item], thread_name: str) -> Generator[Item]:
    """The same items, the next one made in a thread while one is used."""
    with ThreadPoolExecutor(1, thread_name) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def extend_ledger(ledger: str, batch: str) -> str:
    """The batch ledger after one more batch: equal only where all batches so far were equal."""
    return blake2b(f"{ledger}{batch}".encode(), digest_size=16).hexdigest()
