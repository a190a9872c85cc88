"""Trackers that are fed from the journal by a thread, through the library of each."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from runwright.config.redaction import redact
from runwright.errors import ConfigError
from runwright.tracker.console import JournalTracker
from runwright.tracker.journal import FILE_NAME, read

if TYPE_CHECKING:
    from runwright.types import PositiveFloat, RunInfo

logger = logging.getLogger(__name__)

Take = Callable[[Mapping[str, Any]], object]
"""Shows one record of the journal, which is read from its beginning at each start."""


@dataclass(kw_only=True, eq=False)
class FedTracker(JournalTracker):
    """Records to the journal, whose records a thread hands to `library`; nothing it does stops the run."""

    feed_every_seconds: PositiveFloat
    finish_timeout_seconds: PositiveFloat
    library: ClassVar[str]  # a package, and the extra that installs it

    @abstractmethod
    def opened(self, run: RunInfo) -> AbstractContextManager[Take]:
        """The store of a run, in the thread that feeds it."""

    def on_start(self, run: RunInfo) -> None:
        """Start the thread, which opens the store after the first interval: imports would delay step 1."""
        if find_spec(self.library) is None:
            install = f"pip install 'runwright[{self.library}]'"
            raise ConfigError(f"tracker={self.library} needs a package that is not installed: {install}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(run,), name=self.library, daemon=True)
        self._thread.start()

    def on_finish(self) -> None:
        """Hand over the rest, within the time limit."""
        self._stop.set()
        self._thread.join(self.finish_timeout_seconds)
        if self._thread.is_alive():
            logger.warning("%s was too slow: it lacks records, which the journal has", self.library)

    def _work(self, run: RunInfo) -> None:
        offset, stopping = 0, self._stop.wait(self.feed_every_seconds)
        try:
            with self.opened(run) as take:
                while True:
                    for record, end in read(run.folder / FILE_NAME, offset=offset):
                        take(record)
                        offset = end
                    if stopping:
                        return
                    stopping = self._stop.wait(self.feed_every_seconds)
        except Exception as error:  # noqa: BLE001 - a store never stops a run
            reason = redact(f"{type(error).__name__}: {error}")
            logger.warning("%s takes no more of the run (%s); the journal has all", self.library, reason)
