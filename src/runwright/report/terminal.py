"""The consoles that people read, tables on them that are never cut, and numbers as people write them."""

import math
import statistics
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

WIDTH_OF_A_FILE = 120  # characters, where the output is no terminal
LOG_WIDTH = 62  # characters: what the time and level of a log line leave of 80
HEAD_EVERY = 20  # evaluations: who reads the end of a log need not look for the names
BEST = "  best"
BETWEEN = 3  # characters between two columns of a table without an edge


@cache
def console() -> Console:
    """Standard error, for what people read while a run goes on; results go to standard output."""
    return Console(stderr=True, highlight=False)


def result_console() -> Console:
    """Standard output, as wide as the terminal or as a file may be."""
    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    return Console(width=width, highlight=False, force_jupyter=False)  # there each line would be an output


def table_of(
    headings: Sequence[str],
    rows: Iterable[Iterable[str | Text]],
    *,
    right: Collection[str] = (),
    wraps: Collection[str] = (),
) -> Table:
    """A table without an edge; `right`: columns of numbers, `wraps`: of several lines; rows may be short."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in headings:
        heading, justify = Text(name.replace("/", "/\n")), "right" if name in right else "left"
        table.add_column(heading, justify=justify, no_wrap=name not in wraps, overflow="fold")
    for row in rows:
        cells = [Text(cell) if isinstance(cell, str) else cell for cell in row]
        table.add_row(*cells, *[Text()] * (len(headings) - len(cells)))
    return table


def print_table(table: Table, *, console: Console, above: int = 0, below: int = 0, left: int = 0) -> None:
    """Print a table of `table_of`; on a terminal that is too narrow for it a block of lines for each row.

    `above`, `below` and `left` are empty lines and columns around it. A file gets the table, however wide.
    """
    needed = left + sum(map(_needed, table.columns)) + BETWEEN * (len(table.columns) - 1)
    if needed > console.width and console.is_terminal:
        console.print("\n" * above, end="")
        for line in _blocks(table):
            console.print(Text(" " * left) + line, soft_wrap=True)
        console.print("\n" * below, end="")
        return
    wide = console.width
    console.width = max(wide, needed)
    console.print(Padding(table, (above, 0, below, left), expand=False))
    console.width = wide


def print_facts(facts: Iterable[tuple[str, str]], *, console: Console) -> None:
    """Print labels and texts, a line each; paths and commands are for copying: never wrapped by us."""
    for label, text in facts:
        style = "bold yellow" if label == "warning" else "dim"
        console.print(Text.assemble((f" {label:<11} ", style), text), soft_wrap=True)


def _needed(column: Column) -> int:
    """The characters of the widest cell, of the longest word where it may wrap; none where it may be cut."""
    texts: Any = column.header, *column.cells
    texts = [text.plain for text in texts if text.overflow is None]
    parts = (part for text in texts for part in (text.splitlines() if column.no_wrap else text.split()))
    return max(map(cell_len, parts), default=0)


def _blocks(table: Table) -> Iterator[Text]:
    """For each row its first cell, then each other value on a line of its own after its heading."""
    headings = [str(column.header).replace("\n", "") for column in table.columns]
    rows: Any = zip(*(column.cells for column in table.columns), strict=True)
    for title, *values in rows:
        yield Text.assemble((f"{headings[0]} ".lstrip(), "dim"), (title.plain, "bold"))
        for heading, value in zip(headings[1:], values, strict=True):
            if value.plain:
                yield Text.assemble((f"  {heading} ", "dim"), value)


def number_text(value: float | str) -> str:
    """A number with the digits that matter: 0.8312, 123.5, 12,345, 2e-05; NaN of a JSON file is a text."""
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def mean_text(values: Sequence[float]) -> str:
    """One value, or the mean of several with their standard deviation."""
    if len(values) < 2:
        return number_text(values[0]) if values else "-"
    mean = sum(values) / len(values)
    return number_text(mean) + (f" ± {number_text(statistics.stdev(values))}" if math.isfinite(mean) else "")


def shorten(text: str, longest: int) -> str:
    """The text, cut after `longest` - 1 characters with … where it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def duration(seconds: float) -> str:
    """A time span as `4.2s`, `42s`, `3m 10s`, `2h 05m` or `3d 4h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if whole < 10 else f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


class EvaluationTable:
    """The evaluations of a training as a table of the log that grows by a line for each.

    Metrics of the split that chooses the best step: the choosing one, also of other splits, loss, others.
    What 80 columns have no room for, as metrics of groups, is in the journal alone.
    """

    def __init__(self, *, split: str, metric: str) -> None:
        self._split, self._metric, self._num_lines = split, metric, 0

    def lines(
        self, step: int, by_split: Mapping[str, Mapping[str, float]], *, is_best: bool
    ) -> Iterator[str]:
        """The line of one evaluation, after the head of the table where it is due."""
        of_split = by_split.get(self._split, {})
        values = {name: of_split[name] for name in (self._metric, "loss") if name in of_split}
        for split, metrics in by_split.items():
            if split != self._split and self._metric in metrics:
                values[f"{split.removeprefix(f'{self._split}_')}/{self._metric}"] = metrics[self._metric]
        values |= {name: value for name, value in of_split.items() if "/" not in name}
        head, line = f"{'step':>8}", f"{step:>8,}"
        for name, value in values.items():
            width = 2 + max(8, len(name))
            if len(head) + width <= LOG_WIDTH - len(BEST):
                head, line = f"{head}{name:>{width}}", f"{line}{number_text(value):>{width}}"
        if self._num_lines == 0:
            yield f"evaluations of {self._split}:"
        if self._num_lines % HEAD_EVERY == 0:
            yield head
        self._num_lines += 1
        yield line + (BEST if is_best else "")
