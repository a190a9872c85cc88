"""What every tracker does first: write to the journal, with secrets masked, and never raise into the run."""

from __future__ import annotations

import itertools
import json
import logging
import numbers
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.config.redaction import Redactor
from runwright.store import flatten
from runwright.tracker.journal import FILE_NAME, Journal
from runwright.tracker.system import PREFIX, SystemSampler

if TYPE_CHECKING:
    import numpy as np

    from runwright.types import RunInfo

logger = logging.getLogger(__name__)

MAX_STEP = 2**63 - 1  # what the journal's index and MLflow's databases hold


class JournaledTracker:
    """Keeps a run in its journal; subclasses show it elsewhere by overriding the hooks at the end."""

    def __init__(self, *, system_every_seconds: float | None) -> None:
        self.register_as: str | None = None  # where a registry is to have the best model
        self._system_every_seconds = system_every_seconds
        self._sampler: SystemSampler | None = None
        self._journal: Journal | None = None
        self._redactor = Redactor({})
        self._folder = Path()
        self._warned: set[str] = set()

    def start(self, run: RunInfo) -> None:
        """Open the run's journal, or continue it, and then what it is shown in."""
        self._redactor = Redactor()
        self._folder = run.folder.resolve()
        self._journal = Journal(self._folder / FILE_NAME)
        self._journal.status("RUNNING")
        try:
            self.on_start(run)
        except BaseException:
            self._journal.close()
            self._journal = None
            raise
        self._watch_system()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record nested settings under dotted names."""
        if self._journal is not None:
            with self._kept_out_of_the_run("params"):
                self._journal.params(settings_text(self._redactor.value(params)))

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record figures of a step; what is not a number is left out with a warning."""
        if self._journal is None:
            return
        with self._kept_out_of_the_run("metrics"):
            figures = self._numbers(metrics)
            place = max(-MAX_STEP, min(MAX_STEP, int(step)))
            self._journal.metrics(figures, step=place)
            self.on_metrics(figures, step=place)

    def log_ledger(self, ledger: str, *, step: int) -> None:
        """Record the hash of all batches up to a step."""
        if self._journal is not None:
            with self._kept_out_of_the_run("ledger"):
                self._journal.ledger(ledger, step=step)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record words about the run."""
        if self._journal is not None:
            with self._kept_out_of_the_run("tags"):
                self._journal.tags({str(name): _text(self._redactor.value(tags[name])) for name in tags})

    def log_inputs(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Record which data sets the run reads."""
        if self._journal is not None:
            with self._kept_out_of_the_run("inputs"):
                self._journal.inputs(self._redactor.value(inputs))

    def log_artifact(self, path: Path, *, folder: str = "") -> None:
        """Keep a file or folder; it is read later, so it must stay where it is."""
        if self._journal is None:
            return
        with self._kept_out_of_the_run("artifact"):
            absolute = path.resolve()
            inside = absolute.is_relative_to(self._folder)
            # A run folder may be moved before it is synced.
            kept = absolute.relative_to(self._folder) if inside else absolute
            self._journal.artifact(str(kept), folder=folder)

    def log_model(self, path: Path, *, about: Mapping[str, Any]) -> None:
        """Keep the folder of the best model, inside the run folder; `about` says how it is used."""
        if self._journal is not None:
            with self._kept_out_of_the_run("model"):
                kept = str(path.resolve().relative_to(self._folder))
                about = self._redactor.value(dict(about))
                self._journal.model(kept, about=about, register_as=self.register_as)

    def sync(self) -> int:
        """Put everything recorded so far on the disk; the journal's length, for a checkpoint."""
        if self._journal is None:
            return 0
        with self._kept_out_of_the_run("sync"):
            self._journal.sync()
        return self._journal.offset

    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Steps and values of each metric of the run, from before a resume too."""
        return {} if self._journal is None else self._journal.curves()

    def finish(self, status: str) -> None:
        """Record the end and close; a second call does nothing."""
        if self._sampler is not None:
            self._sampler.stop()
            self._sampler = None
        journal, self._journal = self._journal, None
        if journal is None:
            return
        journal.status(status)
        with self._kept_out_of_the_run("sync"):
            journal.sync()
        try:
            self.on_finish()
        finally:
            journal.close()

    def on_start(self, run: RunInfo) -> None:
        """Called when the journal is open."""

    def on_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Called with figures that have been recorded."""

    def on_finish(self) -> None:
        """Called when everything is in the journal."""

    def _watch_system(self) -> None:
        """Record how busy the machine is; a resumed run goes on counting these figures."""
        if self._system_every_seconds is None or self._journal is None:
            return
        before = [steps[-1] for name, (steps, _) in self._journal.curves().items() if name.startswith(PREFIX)]
        numbers = itertools.count(max(map(int, before), default=-1) + 1)
        self._sampler = SystemSampler(
            lambda figures: self.log_metrics(figures, step=next(numbers)),
            every_seconds=self._system_every_seconds,
            folder=self._folder,
        )
        self._sampler.start()

    @contextmanager
    def _kept_out_of_the_run(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a value does, the run goes on
            if what not in self._warned:
                self._warned.add(what)
                logger.warning("the tracker could not record %s: %s: %s", what, type(error).__name__, error)

    def _numbers(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, value in metrics.items():
            try:
                figures[str(name)] = float(value)
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:
                if str(name) not in self._warned:
                    self._warned.add(str(name))
                    logger.warning("metric %r is left out: %r is not a number (%s)", name, value, error)
        return figures


def settings_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as `{"optimizer.lr": "1e-05"}`; lists stay whole, as JSON."""
    return {key: _text(value) for key, value in flatten(settings).items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        return str(value)
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError):  # keys that JSON does not know, or a loop
        return repr(value)
