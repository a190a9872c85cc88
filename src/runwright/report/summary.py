"""What a run came to, in one look and as `summary.json`."""

from __future__ import annotations

import math
import os
import resource
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runwright.config.addresses import to_address, to_path
from runwright.report.progress import clock
from runwright.report.terminal import print_table
from runwright.store import write_json
from runwright.types import Interval

FILE_NAME = "summary.json"
DEFAULT_STORE = to_address(Path("outputs/mlflow.db"), "sqlite")  # what `runwright ui` shows by itself
_STATUS_STYLES = {"FINISHED": "bold green", "FAILED": "bold red", "KILLED": "bold yellow"}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """Everything that the end of a run shows; metrics are named `split/metric` or `split/metric/group`."""

    name: str
    run_id: str
    status: str  # FINISHED, FAILED or KILLED
    folder: Path
    global_step: int
    best_step: int | None = None
    training_loss: float | None = None  # mean over all steps
    metrics: Mapping[str, float] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)  # the same before the first update, if measured
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # published: column -> metric
    seconds: Mapping[str, float] = field(default_factory=dict)  # data, train, evaluate, save; all
    num_examples: int = 0  # trained on, each as often as it was seen
    real_tokens: int = 0
    padded_tokens: int = 0  # real ones and padding
    peak_memory_bytes: int | None = None
    device: str = ""
    ledger: str = ""
    data_changes: Sequence[Mapping[str, Any]] = ()  # step and changes, where the run went on with other data
    paths: Mapping[str, Path] = field(default_factory=dict)
    tracked_at: str = ""  # where the tracker shows the run

    @property
    def rates(self) -> dict[str, float]:
        """Samples and real tokens a second of training, and the share of padding; what is known of them."""
        rates, seconds = {}, self.seconds.get("train", 0.0)
        if seconds > 0 and self.num_examples:
            rates["samples_per_second"] = self.num_examples / seconds
            rates["real_tokens_per_second"] = self.real_tokens / seconds
        if self.padded_tokens:
            rates["padding_share"] = 1 - self.real_tokens / self.padded_tokens
        return rates


def write_summary(summary: RunSummary) -> Path:
    """The summary as `summary.json` in the run folder; paths are relative to it, NaN and inf are strings."""
    values = {name: getattr(summary, name) for name in summary.__dataclass_fields__ if name != "folder"}
    content = _plain(values | {"rates": summary.rates}, folder=summary.folder)
    path = summary.folder / FILE_NAME
    write_json(path, content)
    return path


def print_summary(summary: RunSummary, *, console: Console | None = None) -> None:
    """Print the summary to standard output."""
    console = console or Console(highlight=False)
    console.print()
    console.print(_headline(summary))
    print_metrics(
        summary.metrics,
        summary.intervals,
        before=summary.before,
        references=summary.references,
        console=console,
    )
    console.print()
    # Paths and commands are for copying: never wrapped by us.
    for line in (*_effort(summary), *_data_changes(summary), *_places(summary), *_next_commands(summary)):
        console.print(line, soft_wrap=True)


def print_metrics(
    metrics: Mapping[str, float],
    intervals: Mapping[str, Interval],
    *,
    before: Mapping[str, float] | None = None,
    references: Mapping[str, Mapping[str, float]] | None = None,
    console: Console | None = None,
) -> None:
    """Print the metric tables of a summary alone."""
    console = console or Console(highlight=False)
    for table in _metric_tables(_Figures(metrics, intervals, references or {}, before or {})):
        print_table(table, console=console, above=1, left=1)


def peak_memory_bytes() -> int:
    """The most memory this process has held: on the GPU where torch uses one, else in all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return int(torch.cuda.max_memory_allocated())
    kilobyte = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte


def _headline(summary: RunSummary) -> Text:
    line = Text()
    line.append(summary.name, style="bold")
    line.append(f" {summary.run_id} ")
    line.append(summary.status, style=_STATUS_STYLES.get(summary.status, "bold"))
    facts = [f"{summary.global_step:,} steps"]
    if summary.seconds.get("all"):
        facts.append(f"{clock(summary.seconds['all'])} in all")
    if summary.best_step is not None:
        facts.append(f"best at step {summary.best_step:,}")
    if summary.training_loss is not None:
        facts.append(f"mean training loss {summary.training_loss:.4g}")
    line.append(f"\n{', '.join(facts)}", style="dim")
    return line


def _metric_tables(figures: _Figures) -> Iterator[Table]:
    """For each split: its metrics, then its groups, beside published figures where there are some."""
    references = figures.references
    for split in dict.fromkeys(key.partition("/")[0] for key in figures.metrics):
        of_split = {key: value for key, value in figures.metrics.items() if key.startswith(f"{split}/")}
        shown = figures._replace(metrics=of_split)
        whole = [key for key in of_split if key.count("/") == 1]
        grouped = [key for key in of_split if key.count("/") > 1]
        if whole:
            yield _with_intervals(shown, whole, heading=split, drop=f"{split}/")
        compared = dict.fromkeys(
            key.rsplit("/", key.count("/") - 1)[0] for key in grouped if _columns(references, [key])
        )
        for metric in compared:
            keys = [key for key in grouped if key.startswith(f"{metric}/")]
            yield _with_intervals(shown, keys, heading=metric.replace("/", " "), drop=f"{metric}/")
        rest = [key for key in grouped if not any(key.startswith(f"{metric}/") for metric in compared)]
        if rest:
            yield _by_group(of_split, rest, heading=f"{split}, by group")


class _Figures(NamedTuple):
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    references: Mapping[str, Mapping[str, float]]
    before: Mapping[str, float]


def _with_intervals(shown: _Figures, keys: list[str], *, heading: str, drop: str) -> Table:
    columns = _columns(shown.references, keys)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(Text(heading), min_width=12, overflow="ellipsis")
    table.add_column("value", justify="right", style="bold", no_wrap=True)
    has_intervals = any(key in shown.intervals for key in keys)
    if has_intervals:
        table.add_column("95 % interval", justify="center", no_wrap=True)
    was_measured = any(key in shown.before for key in keys)
    if was_measured:
        table.add_column("before", justify="right", no_wrap=True)
    for column in columns:
        table.add_column(Text(column), justify="right", style="dim")
    for key in keys:
        cells = [Text(key.removeprefix(drop)), _figure(shown.metrics[key])]
        if has_intervals:
            interval = shown.intervals.get(key)
            cells.append(f"[{_figure(interval.low)}, {_figure(interval.high)}]" if interval else "")
            cells[-1] = Text(str(cells[-1]))
        if was_measured:
            cells.append(_figure(shown.before[key]) if key in shown.before else "")
        published = (shown.references[column].get(key) for column in columns)
        table.add_row(*cells, *("" if value is None else _figure(value) for value in published))
    return table


def _by_group(metrics: Mapping[str, float], keys: list[str], *, heading: str) -> Table:
    names = dict.fromkeys(key.split("/", 2)[1] for key in keys)
    groups = dict.fromkeys(key.split("/", 2)[2] for key in keys)
    split = keys[0].partition("/")[0]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(Text(heading), min_width=12, overflow="ellipsis")
    for name in names:
        table.add_column(Text(name), justify="right")
    for group in groups:
        figures = (metrics.get(f"{split}/{name}/{group}") for name in names)
        table.add_row(Text(group), *("" if value is None else _figure(value) for value in figures))
    return table


def _columns(references: Mapping[str, Mapping[str, float]], keys: list[str]) -> list[str]:
    """The published figures that say something about these metrics."""
    return [name for name, figures in references.items() if any(key in figures for key in keys)]


def _effort(summary: RunSummary) -> Iterator[Text]:
    stages = [f"{name} {clock(spent)}" for name, spent in summary.seconds.items() if name != "all"]
    if stages:
        yield _labelled("time", ", ".join(stages))
    rates = summary.rates
    facts = []
    if "samples_per_second" in rates:
        facts.append(f"{rates['samples_per_second']:,.1f} samples/s")
        facts.append(f"{rates['real_tokens_per_second']:,.0f} real tokens/s")
    if "padding_share" in rates:
        facts.append(f"{rates['padding_share']:.1%} padding")
    if facts:
        yield _labelled("training", ", ".join(facts))
    if summary.peak_memory_bytes:
        place = f" ({summary.device})" if summary.device else ""
        yield _labelled("memory", f"{summary.peak_memory_bytes / 2**30:.2f} GiB at most{place}")


def _data_changes(summary: RunSummary) -> Iterator[Text]:
    for change in summary.data_changes:
        yield _labelled("data", f"changed at step {change['step']:,}: {'; '.join(change['changes'])}")


def _places(summary: RunSummary) -> Iterator[Text]:
    yield _labelled("run", _relative(summary.folder))
    for name in ("best", *(name for name in summary.paths if name.startswith(("predictions/", "tables/")))):
        if name in summary.paths:
            yield _labelled(name.partition("/")[0], _relative(summary.paths[name]))
    plots = [path for name, path in summary.paths.items() if name.startswith("plots/")]
    if plots:
        yield _labelled("plots", f"{_relative(plots[0].parent)}: {', '.join(path.stem for path in plots)}")
    if summary.tracked_at:
        yield _labelled("tracked", _relative_store(summary.tracked_at))


def _next_commands(summary: RunSummary) -> Iterator[Text]:
    folder = shlex.quote(_relative(summary.folder))
    if summary.status != "FINISHED":
        yield _labelled("next", f"runwright train --resume {folder}")
        return
    yield _labelled("next", f"runwright evaluate {folder}")
    yield _labelled("", f"runwright predict {folder} 'a text'")
    if summary.tracked_at.startswith("sqlite"):
        store = _relative_store(summary.tracked_at)
        chosen = "" if store == DEFAULT_STORE else f" --uri {shlex.quote(store)}"
        yield _labelled("", f"runwright ui{chosen}")


def _labelled(label: str, text: str) -> Text:
    return Text.assemble((f" {label:<12}", "dim"), text)


def _relative(path: Path) -> str:
    """The path as one would type it here."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return str(path) if relative.startswith(f"..{os.sep}..") else relative


def _relative_store(address: str) -> str:
    file = to_path(address) if address.startswith("sqlite") else None
    if file is None:
        return address
    return to_address(Path(_relative(file)), "sqlite", query=address.partition("?")[2])


def _figure(value: float) -> str:
    if not math.isfinite(value):
        return f"{value}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def _plain(value: Any, *, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(member, folder=folder) for name, member in value.items()}
    if isinstance(value, Interval):
        return {name: _plain(getattr(value, name), folder=folder) for name in ("value", "low", "high")}
    if isinstance(value, Path):
        return str(value.relative_to(folder)) if value.is_relative_to(folder) else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return value
