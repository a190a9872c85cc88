"""Tables of runs for papers: mean and spread over seeds, the best marked; the same runs, the same bytes."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from runwright.analysis.compare.sides import Side, less_is_better, metric_names, mixed_settings
from runwright.analysis.compare.verdict import judge
from runwright.analysis.runs import RunRow, as_text, require_key
from runwright.errors import ConfigError
from runwright.report.tables import guarded
from runwright.report.terminal import mean_text, number_text

MARKS = {
    "latex": ("\\textbf{%s}", "%s$^\\dagger$"),
    "markdown": ("**%s**", "%s †"),
    "csv": ("%s (best)", "%s †"),
}
LEGEND = "bold: the best; †: not significantly worse than it, by {tests}; ±: standard deviation over runs"
LATEX = {**{c: f"\\{c}" for c in "&%$#_{}"}, "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}


class Column(NamedTuple):
    """A metric, of the runs whose settings have these values alone."""

    metric: str
    values: tuple[tuple[str, str], ...] = ()

    @property
    def heading(self) -> str:
        return " ".join([*(value for _, value in self.values), self.metric])


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The runs of a row that have the metric of a column, and what they say."""

    side: Side
    text: str
    mean: float
    mark: str = ""  # best, or no worse


def make_table(rows: Sequence[RunRow], keys: Sequence[str], columns: Sequence[str], *, form: str) -> str:
    """Runs by the values of settings `keys`; `columns` are metrics, and settings that part them further.

    Raises ConfigError where runs have none of a key, or where no column is a metric.
    """
    rows = sorted(rows, key=lambda row: row.run_id)
    for key in (*keys, *columns):
        require_key(key, rows)
    metrics = [name for name in columns if any(name in row.metrics for row in rows)]
    if not metrics:
        names = ", ".join(metric_names([Side(letter="", rows=tuple(rows))])[:8])
        raise ConfigError(f"--columns: given {','.join(columns)}, expected a metric: {names}")
    parts = [name for name in columns if name not in metrics]
    parted = sorted({_values(row, parts) for row in rows}, key=_order)
    wanted = [Column(m, tuple(zip(parts, v, strict=True))) for v in parted for m in metrics]
    groups: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        groups.setdefault(_values(row, keys), []).append(row)
    names, tests = sorted(groups, key=_order), set[str]()
    cells = {column: _cells(column, [groups[name] for name in names], tests) for column in wanted}
    made = " and ".join(sorted(tests)) or "no test, which takes several runs of each, or predictions"
    notes = [LEGEND.format(tests=made), *_notes(names, cells)]
    lines = [[*name, *(cells[c][i] for c in wanted)] for i, name in enumerate(names)]
    return _written([*keys, *(c.heading for c in wanted)], lines, notes, form=form)


def _values(row: RunRow, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(as_text(row.value(key)) for key in keys)


def _order(texts: Sequence[str]) -> list[tuple[float, str]]:
    """Numbers by their size, before texts."""
    return [
        (float(text) if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", text) else math.inf, text) for text in texts
    ]


def _cells(column: Column, groups: Sequence[Sequence[RunRow]], tests: set[str]) -> list[Cell | None]:
    """The cells of a column with their marks; names of the tests that were made are added to `tests`."""
    cells: list[Cell | None] = []
    for group in groups:
        keys = [key for key, _ in column.values]
        runs = [row for row in group if (*zip(keys, _values(row, keys), strict=True),) == column.values]
        runs = [row for row in runs if column.metric in row.metrics]
        values = [run.metrics[column.metric] for run in runs]
        text = mean_text(values)
        if len(runs) == 1 and (interval := runs[0].intervals.get(column.metric)):
            text += f" [{', '.join(number_text(float(interval[end])) for end in ('low', 'high'))}]"
        side = Side(letter="", rows=tuple(runs))
        cells.append(Cell(side=side, text=text, mean=fmean(values)) if runs else None)
    ranked = [cell for cell in cells if cell and math.isfinite(cell.mean)]
    if len(ranked) < 2:
        return cells
    best = (min if less_is_better(column.metric, ranked[0].side) else max)(ranked, key=lambda cell: cell.mean)

    def mark(cell: Cell) -> str:
        if cell.mean == best.mean:
            return "best"
        differences = judge(best.side, cell.side, confidence=0.95).differences
        tested = [one for one in differences if one.metric == column.metric]
        tests.update(one.method for one in tested)
        return "no worse" if tested and tested[0].better is None else ""

    return [cell and Cell(side=cell.side, text=cell.text, mean=cell.mean, mark=mark(cell)) for cell in cells]


def _notes(names: Sequence[tuple[str, ...]], cells: dict[Column, list[Cell | None]]) -> Iterator[str]:
    """The runs behind each cell, and what they differ in that is no seed."""
    for column, of_column in cells.items():
        for name, cell in zip(names, of_column, strict=True):
            if cell:
                runs = f"{len(cell.side.rows)} runs: {' '.join(row.short_id for row in cell.side.rows)}"
                mixed = mixed_settings(cell.side) if len(cell.side.rows) > 1 else []
                differs = f"; they differ in more than seeds: {', '.join(mixed)}" if mixed else ""
                yield f"{', '.join(name)} | {column.heading}: {runs}{differs}"


def _written(
    headings: Sequence[str], lines: Sequence[Sequence[str | Cell | None]], notes: Sequence[str], *, form: str
) -> str:
    def written(entry: str | Cell | None) -> str:
        text = entry.text if isinstance(entry, Cell) else entry or "-"
        if form == "latex":
            text = "".join(LATEX.get(c, c) for c in text.replace("\\", "/")).replace("±", "$\\pm$")
        text = text.replace("|", "\\|") if form == "markdown" else text
        mark = entry.mark if isinstance(entry, Cell) else ""
        return MARKS[form][mark != "best"] % text if mark else text

    counts = [sorted({len(c.side.rows) for c in line if isinstance(c, Cell)}) for line in lines]
    runs = ["–".join(map(str, dict.fromkeys((n[0], n[-1])))) if n else "0" for n in counts]
    table = [[*map(written, line), count] for line, count in zip(lines, runs, strict=True)]
    heads = [*map(written, headings), "runs"]
    if form == "csv":
        stream = io.StringIO("".join(f"# {note}\n" for note in notes))
        stream.seek(0, io.SEEK_END)
        csv.writer(stream, lineterminator="\n").writerows([*map(guarded, line)] for line in [heads, *table])
        return stream.getvalue()
    if form == "markdown":
        rule = ["---"] * len(heads)
        comments = "\n".join(note.replace("--", "- -") for note in notes[1:])
        body = "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *table])
        return f"{body}\n\n{notes[0]}\n\n<!--\n{comments}\n-->\n"
    body = "\n".join(f"{' & '.join(line)} \\\\" for line in table)
    head = f"\\begin{{tabular}}{{{'l' * len(headings)}r}}\n\\toprule\n{' & '.join(heads)} \\\\\n\\midrule"
    return "".join(f"% {note}\n" for note in notes) + f"{head}\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
