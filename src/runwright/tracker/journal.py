"""The record of a run: append-only lines of JSON in the run folder, the source of truth of every tracker.

One line is one event. `t` is the time in milliseconds since 1970; the other keys say what happened:

    {"t", "s": step, "m": {name: value}}              metrics, keyed by (name, step); the first one stands
    {"t", "s": step, "ledger": hash}                  the batches up to this step, see trainer/batches.py
    {"t", "s": step, "conflict": {name: [first, now]}}  a replayed step gave another value
    {"t", "params": {name: text}}                     the first value of a name stands
    {"t", "changed": {name: [first, now]}}            a resumed run came with another value
    {"t", "tags": {name: text}}                       the last value of a name stands
    {"t", "artifact": path}                           a file or folder to keep; relative to the run folder
    {"t", "model": path, "about": {…}}              the best model, and how to use it
    {"t", "status": word}                             RUNNING at each start; at the end FINISHED, PRUNED, …

Floats are written so that they read back bit for bit; "inf", "-inf" and "nan" are strings, which keeps
every line strict JSON. Each line reaches the operating system before the call returns, so a killed process
loses nothing; `sync()` also survives a power cut, and checkpoints call it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from array import array
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

logger = logging.getLogger(__name__)

FILE_NAME = "journal.jsonl"

# Measured clocks and rates differ on every replay: their first record stands without a comparison.
SYSTEM = "system/"  # of samples of the machine, which count by themselves and not by steps
UNREPEATABLE = ("time/", "speed/", SYSTEM, "memory/")

LEDGER_DIGITS = 13  # 52 bits of it are kept for the comparison: what a float holds exactly

_SPECIAL = ("inf", "-inf", "nan")

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class _Curve:
    """Steps in rising order and their values: 16 bytes a point."""

    def __init__(self) -> None:
        self.steps, self.values = array("q"), array("d")

    def add(self, step: int, value: float) -> float | None:
        """Take in a point; where the step is there already, its first value instead."""
        if not self.steps or step > self.steps[-1]:
            position = len(self.steps)
        elif self.steps[position := bisect_left(self.steps, step)] == step:
            return self.values[position]
        self.steps.insert(position, step)
        self.values.insert(position, value)
        return None


class Journal:
    """An open record of one run; safe to call from several threads, written by one process.

    Opening an existing file cuts a torn last line and takes in what is there. Writing never raises: while
    the disk refuses, lines wait in memory and the next call tries again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._curves: dict[str, _Curve] = defaultdict(_Curve)
        self._ledgers = _Curve()
        self._params: dict[str, str] = {}
        self._pending = b""
        self._warned: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.offset = _cut_torn_line(path)  # bytes recorded so far; stored in checkpoints
        for record, _ in read(path):
            _take_in(self._curves, record)
            if "ledger" in record:
                self._ledgers.add(record["s"], _shortened(record["ledger"]))
            self._params = record.get("params", {}) | self._params

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Record metrics of a step; those already recorded for it are compared, never rewritten."""
        with self._lock:
            new: dict[str, Any] = {}
            conflicts: dict[str, list[Any]] = {}
            for name, value in values.items():
                if (first := self._curves[name].add(step, value)) is None:
                    new[name] = _safe(value)
                elif _safe(first) != _safe(value) and not name.startswith(UNREPEATABLE):
                    conflicts[name] = [_safe(first), _safe(value)]
            if new:
                self._append(s=step, m=new)
            if conflicts:
                self._append(s=step, conflict=conflicts)
                self._warn_once("conflict", "step %d gave other values than before: %s", step, conflicts)

    def ledger(self, ledger: str, *, step: int) -> None:
        """Record the hash of all batches up to a step; one recorded before is compared, never rewritten."""
        with self._lock:
            first, now = self._ledgers.add(step, _shortened(ledger)), _shortened(ledger)
            if first is None:
                self._append(s=step, ledger=ledger)
            elif first != now:
                digits = [f"{int(value):0{LEDGER_DIGITS}x}" for value in (first, now)]
                self._append(s=step, conflict={"ledger": digits})
                self._warn_once("ledger", "up to step %d other data was seen than before", step)

    def params(self, values: Mapping[str, str]) -> None:
        """Record settings of the run; a name that changed since the first start is recorded as such."""
        with self._lock:
            new = {name: value for name, value in values.items() if name not in self._params}
            self._params |= new
            changed = {
                name: [self._params[name], value]
                for name, value in values.items()
                if self._params[name] != value
            }
            if new:
                self._append(params=new)
            if changed:
                self._append(changed=changed)

    def record(self, **fields: Any) -> None:
        """Record tags, an artifact or a model: the keys of a line as the module lists them."""
        with self._lock:
            self._append(**fields)

    def status(self, status: str, *, at: float | None = None) -> None:
        """Record the state of the run, as of `at` (seconds since 1970; None: now)."""
        self.record(status=status, **({} if at is None else {"t": round(at * 1000)}))

    def sync(self) -> int:
        """The offset up to which everything is on the disk itself."""
        with self._lock:
            self._drain()
            os.fsync(self._file)
            return self.offset

    def close(self) -> None:
        """Write what waits and close the file."""
        with self._lock:
            if self._file >= 0:
                self._drain()
                if self._pending:
                    logger.warning("the journal lost lines: the disk refused them to the end")
                os.close(self._file)
                self._file = -1

    def last_step(self, prefix: str) -> int:
        """The last step of metrics whose names begin so; -1 without one."""
        with self._lock:
            curves = (curve for name, curve in self._curves.items() if name.startswith(prefix))
            return max((curve.steps[-1] for curve in curves), default=-1)

    def _append(self, **fields: Any) -> None:
        record = {"t": time.time_ns() // 1_000_000, **fields}
        self._pending += _encode(record).encode("ascii") + b"\n"
        self._drain()

    def _drain(self) -> None:
        try:
            while self._pending and self._file >= 0:
                written = os.write(self._file, self._pending)
                self._pending = self._pending[written:]
                self.offset += written
        except OSError as error:
            self._warn_once("disk", "cannot write %s (%s); its lines wait in memory", self.path, error)

    def _warn_once(self, kind: str, message: str, *values: object) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning(message, *values)


def read(path: Path, *, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Complete records from `offset` on, each with the offset behind it; unreadable lines are left out."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = json.loads(line)
            except ValueError:
                logger.warning("%s: the line that ends at byte %d is unreadable", path, offset)
                continue
            if _is_record(record):
                yield record, offset
            else:
                logger.warning("%s: the line that ends at byte %d is no record", path, offset)


_TYPES: dict[str, type] = {
    **dict.fromkeys(("t", "s"), int),
    **dict.fromkeys(("ledger", "artifact", "model", "status"), str),
    **dict.fromkeys(("m", "params", "tags", "changed", "conflict", "about"), dict),
}
_WITH = {"m": "s", "ledger": "s", "conflict": "s", "model": "about"}


def _is_record(record: Any) -> bool:
    """Return True for a mapping whose keys have the types that the module lists."""
    return (
        isinstance(record, dict)
        and "t" in record
        and all(isinstance(record[name], kind) for name, kind in _TYPES.items() if name in record)
        and all(other in record for name, other in _WITH.items() if name in record)
        and all(isinstance(value, int | float) or value in _SPECIAL for value in record.get("m", {}).values())
    )


def last_status(path: Path) -> str:
    """The last status near the end of a journal; empty where there is none."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        return file.read().rpartition(b'"status":"')[2].partition(b'"')[0].decode(errors="replace")


def read_curves(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves of a journal that is not open for writing here."""
    curves: dict[str, _Curve] = defaultdict(_Curve)
    for record, _ in read(path):
        _take_in(curves, record)
    import numpy as np  # deferred: the reader of a journal need not have it loaded

    return {name: (np.array(curve.steps), np.array(curve.values)) for name, curve in curves.items()}


def _take_in(curves: dict[str, _Curve], record: Mapping[str, Any]) -> None:
    for name, value in record.get("m", {}).items():
        curves[name].add(record["s"], float(value))


def _shortened(ledger: str) -> float:
    return float(int(ledger[:LEDGER_DIGITS], 16))


def _safe(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _cut_torn_line(path: Path) -> int:
    """Remove an incomplete last line; the length of the file then."""
    with path.open("r+b") as file:
        length = sum(len(line) for line in file if line.endswith(b"\n"))
        if torn := file.seek(0, os.SEEK_END) - length:
            logger.warning("the journal ended in a torn line of %d bytes; it was cut", torn)
            file.truncate(length)
    return length
