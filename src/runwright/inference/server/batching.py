"""One thread with the model, and a bounded queue of what requests want from it.

While the model works the queue fills; then all that waits goes through the model together, cut into batches
of like length as `predict` cuts its input. Nothing waits for company while the model is idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from runwright.generation.strategies import Sample
from runwright.inference.load import FinishedRun, beside, choose_columns, choosing, predict_each
from runwright.inference.stream import encoded, stream_text
from runwright.types import Hypotheses

PIECE_RECORDS = 64  # of one request, before others have their turn
BATCH_RECORDS = 256  # of all requests, that are computed together
MAX_WAITING = 2048  # records of all requests
Row = dict[str, Any]
Answer = list[Row] | Exception


class QueueFull(Exception):  # noqa: N818 - no error of ours: the client comes again
    """More records wait than may."""


@dataclass(kw_only=True, slots=True, eq=False)
class Piece:
    """Some records of one request, and where their rows go."""

    records: Sequence[Row]
    first: int = 0  # number of the first one in its request
    all_scores: bool = False
    hypotheses: Hypotheses | None = None
    write: Callable[[str], object] | None = None  # gets the text of the only record as it is generated
    rows: asyncio.Future[list[Row]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Rows as `predict_records` has them, for the records of many requests at once.

    Its methods belong to the event loop, those with an underscore to the model's thread.
    """

    def __init__(self, run: FinishedRun, *, observe: Callable[[int], object]) -> None:
        self.run, self.observe = run, observe
        self.waiting = 0  # records that were accepted and have no answer yet
        self.queue: SimpleQueue[Piece | None] = SimpleQueue()
        strategy = getattr(run.task, "strategy", None)
        self.draws = isinstance(strategy, Sample)  # by the number of a record: requests do not mix
        self.loop = asyncio.get_running_loop()
        self.thread = Thread(target=self._work, name="model", daemon=True)
        self.thread.start()

    def put(self, *pieces: Piece) -> None:
        """Accept all these or raise QueueFull; a request that is larger than the queue is alone in it."""
        count = sum(len(piece.records) for piece in pieces)
        if self.waiting and self.waiting + count > MAX_WAITING:
            raise QueueFull
        self.waiting += count
        for piece in pieces:
            self.queue.put(piece)

    async def rows(self, records: Sequence[Row], **options: Any) -> list[Row]:
        """The rows of a request, in the order of its records; raises what the model raises on them."""
        firsts = range(0, len(records), PIECE_RECORDS)
        cut = [Piece(records=records[n : n + PIECE_RECORDS], first=n, **options) for n in firsts]
        self.put(*cut)
        return [*chain(*await asyncio.gather(*(piece.rows for piece in cut)))]

    def deliver(self, pieces: Sequence[Piece], answers: Sequence[Answer]) -> None:
        for piece, answer in zip(pieces, answers, strict=True):
            self.waiting -= len(piece.records)
            if piece.rows.done():  # nobody waits for it any more
                continue
            if isinstance(answer, Exception):
                piece.rows.set_exception(answer)
            else:
                piece.rows.set_result(answer)

    def close(self) -> None:
        """End the thread, after all that waits."""
        self.queue.put(None)
        self.thread.join()

    def _work(self) -> None:
        while (piece := self.queue.get()) is not None:
            pieces = [piece]
            with suppress(Empty):
                while sum(len(one.records) for one in pieces) < BATCH_RECORDS:
                    if (piece := self.queue.get_nowait()) is None:
                        self.queue.put(None)
                        break
                    pieces.append(piece)
            together: dict[Any, list[Piece]] = {}
            for piece in pieces:
                key = piece if self.draws or piece.write else piece.hypotheses
                together.setdefault(key, []).append(piece)
            for some in together.values():
                self.loop.call_soon_threadsafe(self.deliver, some, self._answers(some))

    def _answers(self, pieces: Sequence[Piece]) -> list[Answer]:
        """The rows of each piece, or the error that it raises also by itself."""
        try:
            return self._predicted(pieces)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is of one request and none of the others
            if len(pieces) == 1:
                return [error]
        half = len(pieces) // 2
        return self._answers(pieces[:half]) + self._answers(pieces[half:])

    def _predicted(self, pieces: Sequence[Piece]) -> list[Answer]:
        answers: dict[Piece, list[Row]] = {piece: [] for piece in pieces}
        owners = [piece for piece in pieces if not piece.rows.cancelled() for _ in piece.records]
        if not owners:
            return [*answers.values()]
        first, run = owners[0], choosing(self.run, owners[0].hypotheses)
        if first.write:
            text = stream_text(run, encoded(run, first.records[0], choose_columns(run)), first.write)
            return [[beside(first.records[0], {"predicted": text})]]
        records = (record for piece in dict.fromkeys(owners) for record in piece.records)
        # One piece: that of a request which draws, or which follows another of the same request.
        predicted = predict_each(run, records, first=first.first if len(pieces) == 1 else 0)
        for owner, (record, texts, predictions, index) in zip(owners, predicted, strict=True):
            answer = run.task.describe(predictions, index, row=texts, all_scores=owner.all_scores)
            answers[owner].append(beside(record, answer))
        self.observe(len(owners))
        return [*answers.values()]
