"""Trackers that a thread feeds from the journal; TensorBoard and W&B, through their own libraries."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from runwright.config.redaction import redact
from runwright.errors import ConfigError, TrackingError
from runwright.sweep import trial
from runwright.tracker.console import JournalTracker
from runwright.tracker.journal import FILE_NAME, SYSTEM, read

if TYPE_CHECKING:
    from runwright.types import PositiveFloat, RunInfo

logger = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 60.0
MAX_DOUBLINGS = 20  # of the pause: 2 to the number of failures of a long night is no float

Take = Callable[[Mapping[str, Any]], object]
"""Shows one record of the journal, which is read from its beginning at each start."""


@dataclass(kw_only=True, eq=False)
class FedTracker(JournalTracker):
    """Records to the journal, which a thread hands to a store; nothing that the store does stops the run."""

    upload_every_seconds: PositiveFloat
    finish_timeout_seconds: PositiveFloat
    library: ClassVar[str]  # a package, and the extra that installs it
    store_name: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._thread: threading.Thread | None = None
        self._tried, self._stop = threading.Event(), threading.Event()
        self._trouble = ""  # of the last attempt
        self._resources = ExitStack()  # until the thread ends
        self._take: Take | None = None
        self._offset = 0

    def opened(self, run: RunInfo) -> AbstractContextManager[Take]:
        """The store of a run, in the thread that feeds it."""
        raise NotImplementedError

    def feed(self) -> None:
        """Hand over what the store lacks of the journal; the next call goes on where one has failed."""
        self._take = self._take or self._resources.enter_context(self.opened(self._run))
        for record, end in read(self._folder / FILE_NAME, offset=self._offset):
            self._take(record)
            self._offset = end

    def later(self) -> str:
        """A hint for the user on the records that the store lacks at the end."""
        return "the journal has all"

    def on_start(self, run: RunInfo) -> None:
        """Make the thread, which starts with the first metric: what it imports would delay the first step."""
        if find_spec(self.library) is None:
            install = f"pip install 'runwright[{self.library}]'"
            raise ConfigError(f"tracker={self.library} needs a package that is not installed: {install}")
        self._run = run
        self._thread = threading.Thread(target=self._work, name=f"runwright-{self.library}", daemon=True)

    def on_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:  # noqa: ARG002 - the hook's
        """Begin with the first metric that is not the machine's."""
        if not all(name.startswith(SYSTEM) for name in metrics):
            self._begin()

    def _begin(self) -> None:
        if self._thread is not None and self._thread.ident is None:
            self._thread.start()

    def on_finish(self) -> None:
        """Hand over the rest, within the time limit; the process of a trial gives its result first."""
        if self._thread is not None:
            self._begin()
            self._stop.set()
            trial.after_answer(partial(self._wait, self._thread))

    def _wait(self, thread: threading.Thread) -> None:
        limit = self.finish_timeout_seconds
        # Importing a library and making a store have a limit of their own.
        if not self._tried.wait(limit):
            self._trouble, limit = f"it was not ready in {limit:g} s", 0.0
        thread.join(limit)
        if thread.is_alive() or self._trouble:
            reason = self._trouble or "it was too slow"
            logger.warning("not everything is in %s yet (%s); %s", self.store_name, reason, self.later())
        self._thread = None

    def _work(self) -> None:
        if trial.later is not None:  # a trial may be shorter than the import and the first upload
            self._stop.wait(self.upload_every_seconds)
        num_failures, stopping = 0, False
        while True:
            if self._attempt(self.feed):
                if self._trouble:
                    logger.info("%s takes the run again", self.store_name)
                num_failures, self._trouble = 0, ""
            else:
                num_failures += 1
            if stopping:
                break
            # After the stop there is exactly one more attempt, for what was recorded last.
            pause = self.upload_every_seconds * 2.0 ** min(num_failures, MAX_DOUBLINGS)
            stopping = self._stop.wait(min(pause, MAX_BACKOFF_SECONDS))
        self._attempt(self._resources.close)

    def _attempt(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except Exception as error:  # a store never stops a run
            before, self._trouble = self._trouble, reason_of(error)
            if not before:
                text = "%s does not take the run for now: %s; the run goes on"
                logger.warning(text, self.store_name, self._trouble)
            logger.debug("upload failed", exc_info=error)
            return False
        finally:
            self._tried.set()
        return True


def reason_of(error: Exception) -> str:
    """The error in one line, of a library's words the first, without secrets."""
    if isinstance(error, TrackingError):
        return redact(str(error))
    lines = redact(str(error)).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


@dataclass(kw_only=True, eq=False)
class TensorBoardTracker(FedTracker):
    """Writes curves with their recorded times, settings and tags as texts; a resumed run writes all anew."""

    library: ClassVar[str] = "tensorboard"
    store_name: ClassVar[str] = "TensorBoard"

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
    store_name: ClassVar[str] = "W&B"

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
