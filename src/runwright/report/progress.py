"""Progress of a run: bars on a terminal, a line now and then elsewhere, nothing on other processes."""

import importlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from runwright.report.terminal import console as shared_console
from runwright.report.terminal import duration
from runwright.store import repeating

logger = logging.getLogger(__name__)

LINE_EVERY_SECONDS = 10.0
NOTE_EVERY_SECONDS = 0.5  # in a notebook, where one line replaces the other
# Before the first step: never five seconds without a line, though loading a shared library stops all threads
# for a second or two.
STAGE_LINE_EVERY_SECONDS = 3.0
NUM_STAGES = 6  # before the first step: import, processes, tracker, rows, examples, model
REFRESH_SECONDS = 0.1  # a bar that changes more often is not seen and costs the step

OnProgress = Callable[..., None]
"""Called with the number done, the total where only the work itself knows it, and metrics to show."""


class Progress(ExitStack):
    """Shows stages of a run as they go on; a context manager, and so is each stage.

    `mode` is auto, epochs (lines alone, of training one an epoch) or off (results alone).
    `with progress.starting("reading rows") as on_progress:` then `on_progress(20_000)`;
    `with progress.training(total=1000, done=200):` then `progress.step(201, 1000, {"loss": 0.5})`;
    `with progress.counting("evaluate test", total=3000) as on_progress:` then `on_progress(64, 3000)`.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        console: Console | None = None,
        mode: str = "auto",
        stages_before: int = 0,
        say: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__()
        self._enabled, self._keeps = enabled and mode != "off", enabled
        self._by_epoch = mode == "epochs"
        self._num_stages = stages_before
        self._say = say or logger.info  # before the log is set up nobody would see that
        self._console = console or shared_console()
        self._is_live = self._console.is_terminal and not self._by_epoch
        self._bars: Bars | None = None
        self._kept: list[str] = []
        self._cell: Any = None  # the output of a notebook's cell that is replaced as training goes on
        self.step: OnProgress = _ignore
        """Show the step of training with metrics in the order of their importance."""

    @contextmanager
    def training(self, *, total: int, done: int = 0, steps_per_epoch: int | None = None) -> Iterator[None]:
        """The stage of `step`, from the step `done` on; of a stream nobody knows the steps of an epoch."""
        stage = self.counting("train", total=total, done=done, unit="step")
        if self._enabled and self._by_epoch and steps_per_epoch:
            stage = nullcontext(_epoch_lines(total, steps_per_epoch))
        with ExitStack() as until_first_step, stage as show:
            if self._enabled and not self._is_live:
                until_first_step.enter_context(_ticking(lambda: f"train: step {done}/{total}", self._say))

            def step(*values: Any) -> None:
                until_first_step.close()
                show(*values)

            self.step = step
            try:
                yield
            finally:
                self.step = _ignore

    def keep(self, line: str) -> None:
        """Show a line that stays: in the log, in a notebook above the progress of training."""
        if self._keeps:
            self._kept.append(line)
            self._note(line) if self._enabled and self._console.is_jupyter else logger.info(line)

    def _note(self, line: str) -> None:
        """Show a line in a notebook's cell, below those that stay, in the place of the one before."""
        logger.debug(line)
        text = {"text/plain": "\n".join(dict.fromkeys([*self._kept, line]))}
        if self._cell is None:
            display = importlib.import_module("IPython.display").display  # it is there where a notebook is
            self._cell = display(text, raw=True, display_id=True)
        else:
            self._cell.update(text, raw=True)

    @contextmanager
    def starting(self, name: str) -> Iterator[OnProgress]:
        """A stage before the first step; without a terminal a line at once and every few seconds."""
        self._num_stages += 1
        title = f"[{self._num_stages}/{NUM_STAGES}] {name}"
        if not self._enabled or self._is_live:
            with self.counting(title) as on_progress:
                yield on_progress
            return
        text = title

        def show(done: int, total: int | None = None) -> None:
            nonlocal text
            text = f"{title}: {done:,} of {total:,}" if total else f"{title}: {done:,} so far"

        with _ticking(lambda: text, self._say):
            yield show

    @contextmanager
    def counting(
        self, name: str, *, total: int | None = None, done: int = 0, unit: str = "example"
    ) -> Iterator[OnProgress]:
        """Any other stage, such as an evaluation below training; without a total, examples are counted."""
        if not self._enabled:
            yield _ignore
        elif not self._is_live:
            note = self._note if self._console.is_jupyter else None
            yield _lines(name, start=done, unit=unit, note=note if unit == "step" else None)
        else:
            bars = self._bars = self._bars or self.enter_context(_make_bars(self._console))
            bars.start()
            task = bars.add_task(name, total=total, completed=done, metrics="")
            try:
                yield _bar(bars, task, self._console)
            finally:
                bars.remove_task(task)
                if not bars.tasks:
                    bars.stop()


def _ignore(*_: object) -> None: ...


@contextmanager
def _ticking(text: Callable[[], str], say: Callable[[str], object]) -> Iterator[None]:
    """Say the text, and again every few seconds in a thread, whatever this one is busy with."""
    began = time.monotonic()

    def tick() -> None:
        say(f"{text()}, {duration(time.monotonic() - began)}")

    say(text())
    with repeating(tick, STAGE_LINE_EVERY_SECONDS, name="progress"):
        yield


def _bar(bars: Bars, task: Any, console: Console) -> OnProgress:
    shown = -float("inf")

    def show(done: int, total: int | None = None, metrics: Mapping[str, float] | None = None) -> None:
        nonlocal shown
        if time.monotonic() - shown >= REFRESH_SECONDS or done == total:
            shown = time.monotonic()
            # The longest name, the count and the time take 42 columns, a bar of use another 10.
            text, room = "", console.width - 52
            for metric in _texts(metrics or {}):  # in the order of their importance
                longer = f"{text}  {metric}".lstrip()
                if len(longer) > room:
                    break
                text = longer
            bars.update(task, total=total, completed=done, metrics=text)

    return show


def _lines(name: str, *, start: int, unit: str, note: Callable[[str], None] | None) -> OnProgress:
    began, say = time.monotonic(), note or logger.info
    shown = -float("inf") if unit == "step" else began  # of other stages only a long one is worth a line

    def show(done: int, total: int | None = None, metrics: Mapping[str, float] | None = None) -> None:
        nonlocal shown
        now = time.monotonic()
        every = NOTE_EVERY_SECONDS if note else LINE_EVERY_SECONDS
        if now - shown < every and not (done == total and now - began >= 1):
            return
        shown = now
        rate = (done - start) / (now - began) if now > began else 0.0
        if total is None:
            say(f"{name}: {done} {unit}s, {rate:.0f}/s")
            return
        words = [f"{name}: {unit} {done}/{total} ({done / max(total, 1):.0%})", *_texts(metrics or {})]
        if done < total and rate > 0:
            words.append(f"{duration((total - done) / rate)} left")
        say(", ".join(words))

    return show


def _epoch_lines(total: int, steps_per_epoch: int) -> OnProgress:
    """A line after the last step of each epoch, with the mean loss of its steps."""
    losses: list[float] = []

    def show(done: int, _total: int | None = None, metrics: Mapping[str, float] | None = None) -> None:
        shown = dict(metrics or {})
        losses.append(shown.get("loss", math.nan))
        if not done % steps_per_epoch or done == total:
            words = [f"epoch {done / steps_per_epoch:.4g}: step {done}/{total}"]
            words += _texts(shown | {"loss": fmean(losses)})
            losses.clear()
            logger.info(", ".join(words))

    return show


def _texts(metrics: Mapping[str, float]) -> list[str]:
    """Names with numbers in few characters: 0.5123, 2e-05, 64.2, 1431."""
    short = {name: ".0f" if 1000 <= abs(value) < 1e7 else ".4g" for name, value in metrics.items()}
    return [f"{name} {value:{short[name]}}" for name, value in metrics.items()]


def _make_bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None if console.width >= 100 else 10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}", style="cyan", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        transient=True,
        refresh_per_second=4,
    )
