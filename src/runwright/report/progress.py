"""How far a run is: bars on a terminal, a line now and then elsewhere, nothing on other processes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from runwright.report.terminal import console as shared_console

logger = logging.getLogger(__name__)

LINE_EVERY_SECONDS = 10.0
REFRESH_SECONDS = 0.1  # a bar that changes more often is not seen and costs the step

OnProgress = Callable[..., None]
"""Called with what is done, and with the total where only the work itself knows it."""


class Progress:
    """Shows stages of a run as they go on; a context manager, and so is each stage.

    `with progress.training(total=1000, done=200):` then `progress.step(201, 1000, {"loss": 0.5})`;
    `with progress.evaluating("test", total=3000) as on_progress:` then `on_progress(64, 3000)`.
    """

    def __init__(self, *, enabled: bool, console: Console | None = None) -> None:
        self._enabled = enabled
        self._console = console or shared_console()
        self._bars: Bars | None = None
        self._training: _Stage | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    @contextmanager
    def training(self, *, total: int, done: int = 0) -> Iterator[None]:
        """The stage that `step` speaks of; `done` is where a resumed run goes on."""
        with self._stage("train", total=total, done=done, unit="step") as stage:
            self._training = stage
            try:
                yield
            finally:
                self._training = None

    def step(self, done: int, total: int, fields: Mapping[str, float]) -> None:
        """Show that so many steps are done, with figures in the order of their importance."""
        if self._training is not None:
            self._training.show(done, total, fields)

    @contextmanager
    def evaluating(self, split: str, *, total: int) -> Iterator[OnProgress]:
        """A stage below training; its total may turn out smaller on each of several processes."""
        with self._stage(f"evaluate {split}", total=total, unit="example") as stage:
            yield stage.show

    @contextmanager
    def counting(self, name: str, *, total: int | None = None) -> Iterator[OnProgress]:
        """Any other stage, such as data preparation; without a total, what is done is counted."""
        with self._stage(name, total=total, unit="example") as stage:
            yield stage.show

    @contextmanager
    def _stage(self, name: str, *, total: int | None, unit: str, done: int = 0) -> Iterator[_Stage]:
        stage = _Stage(name=name, unit=unit, start=done)
        if unit != "step":
            stage.shown = stage.began  # as a line, only what takes long is worth one
        if not self._enabled:
            yield stage
            return
        if not self._console.is_terminal:
            stage.line = logger.info
            yield stage
            return
        bars = self._bars = self._bars or _make_bars(self._console)
        stage.bars = bars
        stage.task = bars.add_task(name, total=total, completed=done, figures={})
        bars.start()
        try:
            yield stage
        finally:
            bars.remove_task(stage.task)
            if not bars.tasks:
                bars.stop()
                self._bars = None


@dataclass(kw_only=True, slots=True)
class _Stage:
    name: str
    unit: str
    start: int = 0
    bars: Bars | None = None
    task: TaskID | None = None
    line: Callable[..., None] | None = None
    began: float = field(default_factory=time.monotonic)
    shown: float = -float("inf")

    def show(self, done: int, total: int | None = None, fields: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if self.bars is not None and self.task is not None:
            if now - self.shown >= REFRESH_SECONDS or done == total:
                self.shown = now
                self.bars.update(self.task, total=total, completed=done, figures=fields or {})
        elif self.line is not None and (
            now - self.shown >= LINE_EVERY_SECONDS or (done == total and now - self.began >= 1)
        ):
            self.shown = now
            self.line("%s", self._as_line(done, total, fields or {}, now - self.began))

    def _as_line(self, done: int, total: int | None, fields: Mapping[str, float], seconds: float) -> str:
        rate = (done - self.start) / seconds if seconds > 0 else 0.0
        if total is None:
            return f"{self.name}: {_plural(done, self.unit)}, {rate:.0f}/s"
        parts = [f"{self.name}: {self.unit} {done}/{total} ({done / max(total, 1):.0%})"]
        parts += [f"{name} {short(value)}" for name, value in fields.items()]
        if done < total and rate > 0:
            parts.append(f"{clock((total - done) / rate)} left")
        return ", ".join(parts)


class _Figures(ProgressColumn):
    """As many figures as the terminal has room for; the last ones go first."""

    def __init__(self, room: Callable[[], int]) -> None:
        super().__init__()
        self._room = room

    def render(self, task: Task) -> Text:
        shown, room = "", self._room()
        for name, value in task.fields["figures"].items():
            longer = f"{shown}  {name} {short(value)}" if shown else f"{name} {short(value)}"
            if len(longer) > room:
                break
            shown = longer
        return Text(shown, style="cyan", no_wrap=True)


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{int(task.total)}"
        return Text(f"{int(task.completed)}{total}", no_wrap=True)


def _make_bars(console: Console) -> Bars:
    # Name, count and time take about 45 columns, a bar of use another 15.
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        _Count(),
        _Figures(lambda: console.width - 60),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        transient=True,
        refresh_per_second=4,
    )


def short(value: float) -> str:
    """A figure in few characters: 0.5123, 2e-05, 64.2, 1431."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000 and abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def clock(seconds: float) -> str:
    """A time as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _plural(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
