"""A tracker without a store: the journal in the run folder, and a log line now and then."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from runwright.tracker.journaled import JournaledTracker
from runwright.tracker.system import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runwright.types import NonNegativeFloat, PositiveFloat, RunInfo

logger = logging.getLogger(__name__)


class ConsoleTracker(JournaledTracker):
    """Records to the journal and logs figures, at most once in `interval_seconds` for each set of names."""

    def __init__(
        self, *, interval_seconds: NonNegativeFloat, system_every_seconds: PositiveFloat | None
    ) -> None:
        super().__init__(system_every_seconds=system_every_seconds)
        self._interval_seconds = interval_seconds
        self._last_seconds: dict[tuple[str, ...], float] = {}

    def on_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log the figures unless the same ones were logged a moment ago; those of the machine never."""
        metrics = {name: value for name, value in metrics.items() if not name.startswith(PREFIX)}
        if not metrics:
            return
        names, now = tuple(metrics), time.monotonic()
        if now - self._last_seconds.get(names, -float("inf")) < self._interval_seconds:
            return
        self._last_seconds[names] = now
        logger.info("step %d: %s", step, ", ".join(f"{name} {value:.5g}" for name, value in metrics.items()))


class Silent:
    """The tracker of the processes that are not the first: takes everything, keeps nothing."""

    def start(self, run: RunInfo) -> None:
        """Nothing."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Nothing."""

    def log_ledger(self, ledger: str, *, step: int) -> None:
        """Nothing."""

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Nothing."""

    def log_inputs(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Nothing."""

    def log_artifact(self, path: Path, *, folder: str = "") -> None:
        """Nothing."""

    def log_model(self, path: Path, *, about: Mapping[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> int:
        """Nothing is kept."""
        return 0

    def finish(self, status: str) -> None:
        """Nothing."""
