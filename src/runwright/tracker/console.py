"""The tracker whose store is the journal in the run folder: masked, and never raising into the run."""

from __future__ import annotations

import itertools
import json
import logging
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.config.redaction import Redactor
from runwright.store import flatten
from runwright.tracker.journal import FILE_NAME, Journal
from runwright.tracker.system import PREFIX, SystemSampler

if TYPE_CHECKING:
    from runwright.types import PositiveFloat, RunInfo

logger = logging.getLogger(__name__)

MAX_STEP = 2**63 - 1  # what the journal's index and MLflow's databases hold


@dataclass(kw_only=True, eq=False)
class JournalTracker:
    """Keeps a run in its journal; a subclass shows it elsewhere by overriding the hooks `on_…`.

    Calls before the start and after the end do nothing.
    """

    system_every_seconds: PositiveFloat | None

    def __post_init__(self) -> None:
        self._sampler: SystemSampler | None = None
        self._journal: Journal | None = None
        self._redactor = Redactor({})
        self._folder = Path()
        self._warned: set[str] = set()

    def start(self, run: RunInfo) -> None:
        """Open the run's journal, or continue it, then call `on_start`."""
        self._redactor, self._folder = Redactor(), run.folder.resolve()
        self._journal = Journal(self._folder / FILE_NAME)
        self._journal.status("RUNNING")
        try:
            self.on_start(run)
        except BaseException:
            self._journal.close()
            self._journal = None
            raise
        if self.system_every_seconds is None:
            return
        # How busy the machine is; a resumed run goes on counting.
        numbers = itertools.count(self._journal.last_step(PREFIX) + 1)
        self._sampler = SystemSampler(
            lambda metrics: self.log_metrics(metrics, step=next(numbers)),
            every_seconds=self.system_every_seconds,
            folder=self._folder,
        )

    def finish(self, status: str) -> None:
        """Record the end and close; a second call does nothing."""
        if self._sampler is not None:
            self._sampler.stop()
            self._sampler = None
        if self._journal is None:
            return
        self._journal.status(status)
        self._write("sync", Journal.sync)
        journal, self._journal = self._journal, None
        try:
            self.on_finish()
        finally:
            journal.close()

    def on_start(self, run: RunInfo) -> None:
        """Connect a subclass to its store; the journal is open."""

    def on_finish(self) -> None:
        """Close the store of a subclass; everything is in the journal."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record nested settings under dotted names."""
        self._write("params", lambda journal: journal.params(self._texts(flatten(params))))

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record metrics of a step; what is not a number is left out with a warning."""

        def write(journal: Journal) -> None:
            values, at = self._numbers(metrics), max(-MAX_STEP, min(MAX_STEP, int(step)))
            journal.metrics(values, step=at)
            self.on_metrics(values, step=at)

        self._write("metrics", write)

    def log_ledger(self, ledger: str, *, step: int) -> None:
        """Record the hash of all batches up to a step."""
        self._write("ledger", lambda journal: journal.ledger(ledger, step=step))

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags of the run; the last value of a name stands."""
        self._write("tags", lambda journal: journal.record(tags=self._texts(tags)))

    def log_artifact(self, path: Path) -> None:
        """Record a file or folder to keep; it is read later, so it must stay where it is."""
        self._write("artifact", lambda journal: journal.record(artifact=self._address(path)))

    def log_model(self, path: Path, *, about: Mapping[str, Any]) -> None:
        """Record the folder of the best model, inside the run folder; `about` says how it is used."""
        settings = self._redactor.value(dict(about))
        self._write("model", lambda journal: journal.record(model=self._address(path), about=settings))

    def sync(self) -> int:
        """Put everything recorded so far on the disk; the journal's length, for a checkpoint."""
        self._write("sync", Journal.sync)
        return 0 if self._journal is None else self._journal.offset

    def on_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Show metrics that have been recorded."""

    def _write(self, kind: str, write: Callable[[Journal], object]) -> None:
        """Record; whatever is wrong with a value, the run goes on after one warning of its kind."""
        if self._journal is None:
            return
        try:
            write(self._journal)
        except Exception as error:  # noqa: BLE001 - whatever a value does, the run goes on
            if kind not in self._warned:
                self._warned.add(kind)
                logger.warning("the tracker could not record %s: %s: %s", kind, type(error).__name__, error)

    def _texts(self, values: Mapping[str, Any]) -> dict[str, str]:
        masked = self._redactor.value({str(name): value for name, value in values.items()})
        return {name: _text(value) for name, value in masked.items()}

    def _address(self, path: Path) -> str:
        """The path as seen from the run folder, which may be moved before it is synced, if it is inside."""
        absolute = path.resolve()
        inside = absolute.is_relative_to(self._folder)
        return str(absolute.relative_to(self._folder) if inside else absolute)

    def _numbers(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, value in metrics.items():
            try:
                values[str(name)] = float(value)
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:
                if str(name) not in self._warned:
                    self._warned.add(str(name))
                    logger.warning("metric %r is left out: %r is not a number (%s)", name, value, error)
        return values


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        return str(value)
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError):  # keys that JSON does not know, or a loop
        return repr(value)
