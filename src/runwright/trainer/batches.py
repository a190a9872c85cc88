"""Batches as a pure function of (seed, step), with no sampler state to save or to lose.

The global batch of a step is a slice of a permutation of its epoch. It is cut by length into microbatches,
a pure function of the examples and the options: the same on any number of processes. Ranks take microbatches.

The rows of an epoch of a stream are cut into windows of consecutive rows, the examples of each shuffled:
what the buffer holds is a function of (seed, epoch, position in the stream), so that a checkpoint needs the
position where the window begins and how much of it was used, and no examples. Every process reads the whole
stream and takes its microbatches. From the second epoch on the first window is a shorter one, of another
length in each, so that rows that a border parted come together.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, islice
from threading import Event
from typing import Any, ClassVar, TypeVar

import numpy as np

from runwright.errors import DataError
from runwright.store import bytes_digest
from runwright.trainer.ranks import ALONE, Ranks
from runwright.types import Batch, Example, Examples, Task

logger = logging.getLogger(__name__)

LEDGER_START = "0" * 32
Item = TypeVar("Item")


def derive_seed(*parts: int | str) -> int:
    """63 bits from the parts, the same on every machine, with no relation between neighbours.

    All randomness is a function of where in the run it is used, so that none of it needs to be saved. blake2b
    rather than `hash` (differs by process) or `seed + step` (streams of neighbours overlap).
    """
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@lru_cache(maxsize=1)  # one epoch's order serves all of its steps
def permutation(size: int, seed: int) -> np.ndarray:
    """The numbers below `size` in an order that the seed gives, [N] int64."""
    return np.random.Generator(np.random.Philox(seed)).permutation(size)


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


def cut_batch(lengths: Sequence[int] | np.ndarray, cut: Cut) -> list[np.ndarray]:
    """Microbatches as positions in the batch, longest first; equal lengths keep their order.

    `lengths` are [B], or [B, S] where an example has S sequences, which are padded one by one. A single
    example longer than `microbatch_tokens` is a microbatch of its own.
    """
    table = np.asarray(lengths, dtype=np.int64)
    table = table if table.ndim == 2 else table[:, None]
    if len(table) == 1:
        return [np.zeros(1, dtype=np.int64)]
    order = np.argsort(-table.sum(axis=1), kind="stable")
    size, tokens = cut.microbatch_size or len(order), cut.microbatch_tokens or math.inf
    starts: list[int] = []
    total, widest = 0, [0]  # tokens of the last microbatch, and its longest sequence of each kind
    # Python's numbers of some rows at a time.
    parts = (table[rows].tolist() for rows in np.array_split(order, 1 + len(order) // 10_000))
    for index, sides in enumerate(chain.from_iterable(parts)):
        count = index - starts[-1] + 1 if starts else 1
        wider = list(map(max, widest, sides))
        total = count * sum(wider) if cut.padded else total + sum(sides)
        if count == 1 or count > size or total > tokens:
            starts.append(index)
            total, wider = sum(sides), sides
        widest = wider
    return np.split(order, starts[1:]) if starts else []


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
    batches: Batches | StreamBatches, step: int, picked: Picked, *, epoch: int, position: Any = None
) -> StepBatch:
    """The batch as one rank sees it: cut into microbatches, of which it fetches and collates its own.

    Where the model is sharded, ranks with fewer microbatches than others get fillers.
    """
    task, cut, ranks = batches.task, batches.cut, batches.ranks

    def microbatch(index: int, positions: np.ndarray) -> Microbatch:
        examples = task.augment(picked.fetch(positions.tolist()), seed=batches.seed, epoch=epoch)
        return Microbatch(index=index, count=task.count(examples), batch=task.collate(examples))

    lengths, widths = picked.column("lengths"), picked.column("widths")
    microbatches = cut_batch(widths if cut.microbatch_tokens and cut.padded else lengths, cut)
    costs = [
        len(indices) * int(widths[indices].max(axis=0).sum()) if cut.padded else int(lengths[indices].sum())
        for indices in microbatches
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

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the examples; the last batch of it may be short."""
        return -(-len(self.examples) // self.batch_size)

    def positions(self, step: int) -> np.ndarray:
        """Positions in the data of the global batch of a step, [B] int64."""
        epoch, index = divmod(step, self.steps_per_epoch)
        order = permutation(len(self.examples), derive_seed("order", self.seed, epoch))
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def at(self, step: int) -> StepBatch:
        """The batch of a step; costs the same at any step."""
        picked = Picked([(self.examples, self.positions(step))])
        return make_batch(self, step, picked, epoch=step // self.steps_per_epoch)

    def iterate(self, start: int, end: int) -> Iterator[StepBatch]:
        """Steps start to end - 1; each is prepared while the one before it is used."""
        return ahead(map(self.at, range(start, end)), "batches")


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The examples of consecutive rows, and the order in which they are used."""

    start: Mapping[str, Any]  # its epoch, its number there, and the place in the stream; None: the beginning
    examples: Examples | None
    order: np.ndarray  # [N] int64, positions in the examples
    is_last: bool  # of its epoch


@dataclass
class StreamBatches:
    """The batches of one rank, from where `resume` says; windows are prepared ahead in a thread."""

    steps_per_epoch: ClassVar[int | None] = None  # nobody knows before the end of the first

    stream: Any  # an EncodedStream; the room of data sets stands beside this one
    task: Task
    _: KW_ONLY
    batch_size: int
    shuffle_buffer: int
    seed: int
    cut: Cut
    ranks: Ranks = ALONE
    position: Mapping[str, Any] = field(
        default_factory=lambda: {"epoch": 0, "window": 0, "place": None, "used": 0}
    )

    def resume(self, position: Mapping[str, Any] | None) -> None:
        """Go on from a position that a batch had; in other files than those its epoch begins anew."""
        if position is None:
            return
        if position["fingerprint"] != self.stream.fingerprint:  # a place in the old ones means nothing now
            logger.warning("the files of train changed: epoch %d begins anew", position["epoch"])
            position = {**position, "window": 0, "place": None, "used": 0}
        self.position = position

    def iterate(self, start: int, end: int) -> Iterator[StepBatch]:
        """Steps start to end - 1; `start` is the step of the position."""
        cancelled = Event()
        windows = ahead(self._windows(cancelled), "stream")
        batches = ahead(islice(self._batches(windows, start), end - start), "batches")
        try:
            for batch in batches:
                assert batch.position is not None
                self.position = batch.position
                yield batch
        finally:
            cancelled.set()  # before the threads are waited for
            batches.close()

    def _windows(self, cancelled: Event) -> Iterator[Window]:
        """Windows from that of the position on, epoch after epoch, without an end."""
        epoch, index, place = (self.position[name] for name in ("epoch", "window", "place"))
        while True:
            cursor, num_examples, is_whole, is_last = self.stream.open(place), 0, not index, False
            while not is_last:
                num_rows = self.shuffle_buffer
                if epoch and not index:
                    num_rows -= derive_seed("window", self.seed, epoch) % num_rows
                num_read, examples = cursor.read(num_rows, is_cancelled=cancelled.is_set)
                if cancelled.is_set():
                    return
                is_last = num_read < num_rows
                seed = derive_seed("stream", self.seed, epoch, index)
                order = permutation(0 if examples is None else len(examples), seed)
                num_examples += len(order)
                start = {"epoch": epoch, "window": index, "place": place}
                yield Window(start=start, examples=examples, order=order, is_last=is_last)
                index, place = index + 1, cursor.position
            if not num_examples and is_whole:
                raise DataError("no examples came of the stream", split="train")
            epoch, index, place = epoch + 1, 0, None

    def _batches(self, windows: Iterator[Window], step: int) -> Iterator[StepBatch]:
        """Batches without an end; the last one of an epoch may be short."""
        pieces: list[tuple[Examples, np.ndarray]] = []
        used, room = self.position["used"], self.batch_size
        for window in windows:
            has_more = True
            while has_more:
                positions = window.order[used : used + room]
                used, room = used + len(positions), room - len(positions)
                if window.examples is not None and len(positions):
                    pieces.append((window.examples, positions))
                has_more = not room
                if not room or (window.is_last and pieces):
                    position = {**window.start, "used": used, "fingerprint": self.stream.fingerprint}
                    yield make_batch(self, step, Picked(pieces), epoch=position["epoch"], position=position)
                    pieces, room, step = [], self.batch_size, step + 1
            used = 0


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
