"""Batches of a stream: the same on any number of processes, and from any step on by a small record.

The rows of an epoch are cut into windows of consecutive rows, and the examples of each window are shuffled:
what the buffer holds is a function of (seed, epoch, place in the stream), so that a checkpoint needs the
place where the window begins and how much of it was used, and no examples. Every process reads the whole
stream and takes its microbatches. From the second epoch on the first window is a shorter one, of another
length in each, so that rows that a border parted come together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from itertools import chain, islice
from threading import Event
from typing import Any, ClassVar

import numpy as np

from runwright.errors import DataError
from runwright.trainer.batches import Cut, Picked, StepBatch, ahead, derive_seed, make_batch
from runwright.trainer.ranks import ALONE, Ranks
from runwright.types import Examples, Task

logger = logging.getLogger(__name__)

UNSHUFFLED_ROWS = 1000  # in a window where the order stays that of the files


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The examples of consecutive rows, and the order in which they are used."""

    epoch: int
    index: int  # in its epoch
    place: Mapping[str, int] | None  # where it begins; None: at the beginning of the stream
    examples: Examples | None
    order: np.ndarray  # [N] int64, positions in the examples


@dataclass
class StreamBatches:
    """The batches of one rank, from where `resume` says; windows are prepared ahead in a thread."""

    steps_per_epoch: ClassVar[int | None] = None  # nobody knows before the end of the first

    stream: Any  # an EncodedStream; the room of data sets stands beside this one
    task: Task
    _: KW_ONLY
    batch_size: int
    shuffle_buffer: int | None
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
        while not cancelled.is_set():
            num_examples = 0
            for window in self._windows_of(epoch, index, place, cancelled):
                num_examples += len(window.order)
                yield window
            if not num_examples and not index and not cancelled.is_set():
                raise DataError("no examples came of the stream", split="train")
            epoch, index, place = epoch + 1, 0, None

    def _windows_of(
        self, epoch: int, index: int, place: Mapping[str, int] | None, cancelled: Event
    ) -> Iterator[Window]:
        cursor = self.stream.open(place)
        while not cancelled.is_set():
            num_rows = self.shuffle_buffer or UNSHUFFLED_ROWS
            if epoch and not index:
                num_rows -= derive_seed("window", self.seed, epoch) % num_rows
            num_read, examples = cursor.read(num_rows, is_cancelled=cancelled.is_set)
            if num_read:
                order = np.arange(0 if examples is None else len(examples))
                if self.shuffle_buffer is not None:
                    seed = derive_seed("stream", self.seed, epoch, index)
                    order = np.random.Generator(np.random.Philox(seed)).permutation(len(order))
                yield Window(epoch=epoch, index=index, place=place, examples=examples, order=order)
            if num_read < num_rows:
                return
            index, place = index + 1, cursor.place

    def _batches(self, windows: Iterator[Window], step: int) -> Iterator[StepBatch]:
        """Batches without an end; the last one of an epoch may be short."""
        window, used = next(windows), self.position["used"]
        while True:
            pieces: list[tuple[Examples, np.ndarray]] = []
            room, epoch = self.batch_size, window.epoch
            while room:
                positions = window.order[used : used + room]
                if window.examples is not None and len(positions):
                    pieces.append((window.examples, positions))
                    used, room = used + len(positions), room - len(positions)
                    continue
                following = next(windows)
                if pieces and following.epoch != epoch:
                    windows = chain([following], windows)
                    break
                window, used, epoch = following, 0, following.epoch
            position = {"epoch": window.epoch, "window": window.index, "place": window.place, "used": used}
            yield make_batch(
                step,
                Picked(pieces),
                self.task,
                cut=self.cut,
                ranks=self.ranks,
                seed=self.seed,
                epoch=window.epoch,
                position={**position, "fingerprint": self.stream.fingerprint},
            )
            step += 1
