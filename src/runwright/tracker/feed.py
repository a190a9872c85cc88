"""Trackers that a thread feeds from the journal through their own libraries: TensorBoard and W&B."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from runwright.config.redaction import redact
from runwright.errors import ConfigError
from runwright.tracker.console import JournalTracker
from runwright.tracker.journal import FILE_NAME, SYSTEM, read

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

    def opened(self, run: RunInfo) -> AbstractContextManager[Take]:
        """The store of a run, in the thread that feeds it."""
        raise NotImplementedError

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


@dataclass(kw_only=True, eq=False)
class TensorBoardTracker(FedTracker):
    """Writes curves with their recorded times, settings and tags as texts; a resumed run writes all anew."""

    library: ClassVar[str] = "tensorboard"

    @contextmanager
    def opened(self, run: RunInfo) -> Iterator[Take]:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)  # a step in two files would be drawn twice
        with SummaryWriter(str(folder)) as writer:

            def take(record: Mapping[str, Any]) -> None:
                seconds = record["t"] / 1000
                for name, value in record.get("m", {}).items():
                    writer.add_scalar(name, float(value), record["s"], walltime=seconds)
                for kind in ("params", "tags"):
                    if rows := record.get(kind):
                        table = "".join(f"\n| {name} | `{text}` |" for name, text in rows.items())
                        writer.add_text(kind, f"| name | value |\n|---|---|{table}", walltime=seconds)
                writer.flush()

            yield take


@dataclass(kw_only=True, eq=False)
class WandbTracker(FedTracker):
    """Sends metrics over their own steps, settings and tags; a resumed run goes on under the same id."""

    project: str | None
    mode: Literal["offline", "online"]
    library: ClassVar[str] = "wandb"

    @contextmanager
    def opened(self, run: RunInfo) -> Iterator[Take]:
        import wandb

        if self.mode == "offline":  # all is written anew
            shutil.rmtree(run.folder / "wandb", ignore_errors=True)
        settings = wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True)
        options: Any = {"project": self.project or run.name, "mode": self.mode, "settings": settings}
        shown = wandb.init(id=run.run_id, name=run.folder.name, dir=run.folder, resume="allow", **options)
        shown.define_metric("*", step_metric="step")
        shown.define_metric(f"{SYSTEM}*", step_metric=f"{SYSTEM}sample")
        sent, number, status = shown.step, 0, ""

        def take(record: Mapping[str, Any]) -> None:
            nonlocal number, status
            for kind in ("params", "tags"):
                if kind in record:
                    shown.config.update(record[kind], allow_val_change=True)
            if "m" in record:
                values = {name: float(value) for name, value in record["m"].items()}
                axis = f"{SYSTEM}sample" if all(name.startswith(SYSTEM) for name in values) else "step"
                if number >= sent:  # W&B's own steps are the numbers of records: none is sent twice
                    row = {**values, axis: record["s"], "_timestamp": record["t"] / 1000}
                    shown.log(row, step=number)
                number += 1
            status = record.get("status", status)

        yield take
        shown.finish(exit_code=int(status != "FINISHED"))
