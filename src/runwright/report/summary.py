"""Results of a run, printed at its end and as `summary.json`."""

import os
import resource
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runwright.config.addresses import to_address, to_path
from runwright.errors import plain
from runwright.report import terminal
from runwright.report.tables import strict
from runwright.report.terminal import duration, number_text
from runwright.store import write_json
from runwright.types import Interval, RunResult

FILE_NAME = "summary.json"
REPORT_NAME = "report.html"
DEFAULT_STORE = to_address(Path("outputs/mlflow.db"), "sqlite")  # what `runwright ui` shows by itself


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary(RunResult):
    """Everything that the end of a run shows; metrics are named `split/metric` or `split/metric/group`."""

    name: str
    before: Mapping[str, float] = field(default_factory=dict)  # metrics before the first update, if measured
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # published: column -> metric
    seconds: Mapping[str, float]  # data, train, evaluate, save; all
    real_tokens: int
    padded_tokens: int  # real ones and padding
    peak_memory_bytes: int
    device: str
    data_warnings: Sequence[str] = ()  # rows that may spoil the metrics
    data_changes: Sequence[Mapping[str, Any]] = ()  # step and changes, where the run went on with other data
    notes: Sequence[str] = ()  # on what the metrics mean
    tracked_at: str = ""  # where the tracker shows the run

    @property
    def rates(self) -> dict[str, float]:
        """Samples, steps and real tokens a second of training, its FLOPs, and the share of padding."""
        rates, speed = {}, self.speed
        if speed.seconds > 0 and speed.num_samples:
            rates["samples_per_second"] = speed.samples_per_second
            rates["steps_per_second"] = speed.steps_per_second
            rates["real_tokens_per_second"] = self.real_tokens / speed.seconds
            rates["flops"] = speed.flops
        if self.padded_tokens:
            rates["padding_share"] = 1 - self.real_tokens / self.padded_tokens
        return rates


def write_summary(summary: RunSummary) -> Path:
    """The summary as `summary.json` in the run folder; paths are relative to it, NaN and inf are strings."""
    folder, path = summary.folder, summary.folder / FILE_NAME
    paths = {n: f.relative_to(folder) if f.is_relative_to(folder) else f for n, f in summary.paths.items()}
    content = asdict(summary) | {"status": "FINISHED", "rates": summary.rates, "paths": paths}
    del content["folder"]
    write_json(path, strict(content))
    return path


def print_summary(summary: RunSummary, *, console: Console | None = None) -> None:
    """Print the summary to standard output."""
    console = console or terminal.result_console()
    facts = [f"{summary.global_step:,} steps", f"{duration(summary.seconds['all'])} in all"]
    if summary.best_step is not None:
        facts.append(f"best at step {summary.best_step:,}")
    facts.append(f"mean training loss {summary.training_loss:.4g}")
    console.print()
    console.print(Text.assemble((summary.name, "bold"), f" {summary.run_id} ", ("FINISHED", "bold green")))
    console.print(Text(", ".join(facts), style="dim"))
    others: Any = {"before": summary.before, "references": summary.references}
    print_metrics(summary.metrics, summary.intervals, **others, console=console)
    console.print()
    terminal.print_facts([*_effort(summary), *_files(summary)], console=console)


def print_metrics(
    metrics: Mapping[str, float],
    intervals: Mapping[str, Interval],
    *,
    before: Mapping[str, float] | None = None,
    references: Mapping[str, Mapping[str, float]] | None = None,
    console: Console | None = None,
) -> None:
    """Print for each split a table of its metrics, then one of its groups, beside published metrics."""
    published = [(name, _texts(values)) for name, values in (references or {}).items()]
    ends = {key: f"[{number_text(i.low)}, {number_text(i.high)}]" for key, i in intervals.items()}
    columns = [("value", _texts(metrics)), ("95 % interval", ends), ("before", _texts(before or {}))]
    columns += published
    tables = []
    for split in dict.fromkeys(key.partition("/")[0] for key in metrics):
        keys = [key for key in metrics if key.startswith(f"{split}/")]
        tables.append(_table(split, [key for key in keys if key.count("/") == 1], f"{split}/", columns))
        by_group: dict[str, dict[str, str]] = {}  # texts of each column by the name of the group
        for key in keys:
            _, metric, *group = key.split("/", 2)
            for name, texts in (("", _texts(metrics)), *published):
                if group and key in texts:
                    by_group.setdefault(f"{metric} {name}".strip(), {})[group[0]] = texts[key]
        names = list(dict.fromkeys(group for texts in by_group.values() for group in texts))
        tables.append(_table(f"{split}, by group", names, "", list(by_group.items())))
    for table in tables:
        if table.rows:
            terminal.print_table(table, console=console or terminal.result_console(), above=1, left=1)


def _texts(values: Mapping[str, float]) -> dict[str, str]:
    return {key: number_text(value) for key, value in values.items()}


def _table(
    heading: str, keys: Sequence[str], prefix: str, columns: Sequence[tuple[str, Mapping[str, str]]]
) -> Table:
    """A row for each key, without its prefix; columns that have none of the keys are left out."""
    shown = [(name, texts) for name, texts in columns if any(key in texts for key in keys)]
    rows = []
    for key in keys:
        cells = (Text(texts.get(key, ""), "bold" if name == "value" else "") for name, texts in shown)
        rows.append([plain(key.removeprefix(prefix)), *cells])
    names = [name for name, _ in shown]
    wraps = {*names} - {"value", "95 % interval", "before"}
    return terminal.table_of([heading, *names], rows, right=names, wraps=wraps)


def peak_memory_bytes() -> int:
    """The most memory this process has held: on the GPU where torch uses one, else in all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")  # Linux: a new process begins with the ru_maxrss of its parent
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    kilobyte = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte


def _effort(summary: RunSummary) -> Iterator[tuple[str, str]]:
    yield from (("note", note) for note in summary.notes)
    spans = {name: spent for name, spent in summary.seconds.items() if name != "all"}
    yield "time", ", ".join(f"{name} {duration(spent)}" for name, spent in spans.items())
    rates, facts = summary.rates, []
    if "samples_per_second" in rates:
        facts.append(f"{rates['samples_per_second']:,.1f} samples/s")
        facts.append(f"{rates['real_tokens_per_second']:,.0f} real tokens/s")
    if "padding_share" in rates:
        facts.append(f"{rates['padding_share']:.1%} padding")
    if facts:
        yield "training", ", ".join(facts)
    yield "memory", f"{summary.peak_memory_bytes / 2**30:.2f} GiB at most ({summary.device})"
    for change in summary.data_changes:
        yield "data", f"changed at step {change['step']:,}: {'; '.join(change['changes'])}"


def _files(summary: RunSummary) -> Iterator[tuple[str, str]]:
    yield "run", shown_path(summary.folder)
    if (summary.folder / REPORT_NAME).is_file():
        yield "report", shown_path(summary.folder / REPORT_NAME)
    kinds: dict[str, list[Path]] = {}
    for name, path in summary.paths.items():
        kinds.setdefault(name.partition("/")[0], []).append(path)
    for kind, paths in kinds.items():
        names = f": {', '.join(path.name for path in paths)}" if kind != "best" else ""
        yield kind, f"{shown_path(paths[0].parent if names else paths[0])}{names}"
    if summary.tracked_at:
        yield "tracked", _relative_store(summary.tracked_at)
    folder = shlex.quote(shown_path(summary.folder))
    yield "next", f"runwright evaluate {folder}"
    yield "", f"runwright predict {folder} 'a text'"
    if summary.tracked_at.startswith("sqlite"):
        store = _relative_store(summary.tracked_at)
        yield "", "runwright ui" + ("" if store == DEFAULT_STORE else f" --uri {shlex.quote(store)}")


def shown_path(path: Path) -> str:
    """The path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(f"..{os.sep}..") else relative


def _relative_store(address: str) -> str:
    if (file := to_path(address) if address.startswith("sqlite") else None) is None:
        return address
    return to_address(Path(shown_path(file)), "sqlite", query=address.partition("?")[2])
