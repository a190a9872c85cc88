"""One thread with the model, and a bounded queue of what requests want from it.

While the model works the queue fills; then all that waits goes through the model together, cut into batches
of like length as `predict` cuts its input. Nothing waits for company while the model is idle.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any

from starlette.exceptions import HTTPException

from runwright.generation.strategies import Sample
from runwright.inference.load import FinishedRun, beside, predict_records
from runwright.inference.stream import encoded, stream_text

PIECE_RECORDS = 64  # of one request, before others have their turn
BATCH_RECORDS = 256  # of all requests, that are computed together
MAX_WAITING = 2048  # records of all requests
Row = dict[str, Any]
Answer = list[Row] | Exception


@dataclass(kw_only=True, slots=True, eq=False)
class Piece:
    """Some records of one request, and where their rows go."""

    records: Sequence[Row]
    first: int  # number of the first one in its request
    all_scores: bool = False
    write: Callable[[str], object] | None = None  # gets the text of the only record as it is generated
    rows: asyncio.Future[list[Row]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Rows as `predict_records` has them, for the records of many requests at once."""

    def __init__(self, run: FinishedRun, *, observe: Callable[[int], object]) -> None:
        self.run, self.observe = run, observe
        self.waiting = 0  # records of requests that have no answer yet
        self.queue: SimpleQueue[Piece | None] = SimpleQueue()
        strategy = getattr(run.task, "strategy", None)
        self.draws = isinstance(strategy, Sample)  # by the number of a record: requests do not mix
        self.loop = asyncio.get_running_loop()
        self.thread = Thread(target=self._work, name="model", daemon=True)
        self.thread.start()

    async def rows(self, records: Sequence[Row], **options: Any) -> list[Row]:
        """The rows of a request in the order of its records; raises what the model raises on them.

        Status 503 if too many wait; a request that is larger than the queue is alone in it.
        """
        if self.waiting and self.waiting + len(records) > MAX_WAITING:
            raise HTTPException(503, "too many records wait; come again", {"retry-after": "1"})
        self.waiting += len(records)
        rows: list[Row] = []
        try:
            for first in range(0, len(records), PIECE_RECORDS):
                piece = Piece(records=records[first : first + PIECE_RECORDS], first=first, **options)
                self.queue.put(piece)
                rows += await piece.rows
        finally:
            self.waiting -= len(records)
        return rows

    def close(self) -> None:
        self.queue.put(None)
        self.thread.join()

    # --- the model's thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        while (piece := self.queue.get()) is not None:
            together: dict[Any, list[Piece]] = {}
            count = 0
            while piece is not None:
                alone = self.draws or piece.write
                together.setdefault(piece if alone else piece.all_scores, []).append(piece)
                count += len(piece.records)
                if count >= BATCH_RECORDS or self.queue.empty():
                    break
                piece = self.queue.get()
            for pieces in together.values():
                if wanted := [piece for piece in pieces if not piece.rows.done()]:  # else given up
                    self.loop.call_soon_threadsafe(_deliver, wanted, self._answers(wanted))
            if piece is None:
                return

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
        first, run = pieces[0], self.run
        if first.write:
            text = stream_text(run, encoded(run, first.records[0]), first.write)
            return [[beside(first.records[0], {"predicted": text})]]
        records = [record for piece in pieces for record in piece.records]
        # The number matters to one piece alone: it draws by it, and names a wrong record by it.
        rows = predict_records(run, records, all_scores=first.all_scores, first=first.first)
        answers: list[Answer] = [[*islice(rows, len(piece.records))] for piece in pieces]
        self.observe(len(records))
        return answers


def _deliver(pieces: Sequence[Piece], answers: Sequence[Answer]) -> None:
    for piece, answer in zip(pieces, answers, strict=True):
        if piece.rows.done():  # nobody waits for it any more
            continue
        if isinstance(answer, Exception):
            piece.rows.set_exception(answer)
        else:
            piece.rows.set_result(answer)
