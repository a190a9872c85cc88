"""Tables of runs for papers: mean and spread over seeds, the best marked; the same runs, the same bytes."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from runwright.analysis.compare.sides import Side, less_is_better, metric_names, mixed_settings
from runwright.analysis.compare.verdict import judge
from runwright.analysis.runs import RunRow, as_text, require_key
from runwright.errors import ConfigError
from runwright.report.page.records import as_number
from runwright.report.tables import guarded
from runwright.report.terminal import mean_text, number_text

PLAIN, BEST, NO_WORSE = range(3)
MARKS = {
    "latex": ("%s", "\\textbf{%s}", "%s$^\\dagger$"),
    "markdown": ("%s", "**%s**", "%s †"),
    "csv": ("%s", "%s (best)", "%s †"),
}
LEGEND = "bold: the best; {}±: standard deviation over runs"
LATEX = {**{c: f"\\{c}" for c in "&%$#_{}"}, "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}


@dataclass(kw_only=True, slots=True)
class Cell:
    """The runs of a row that have the metric of a column."""

    side: Side
    metric: str
    mark: int = PLAIN

    @property
    def mean(self) -> float:
        return fmean(self.side.values(self.metric) or [math.nan])

    @property
    def text(self) -> str:
        interval = self.side.rows[0].intervals.get(self.metric) if len(self.side.rows) == 1 else None
        ends = [number_text(float(interval[end])) for end in ("low", "high")] if interval else []
        return mean_text(self.side.values(self.metric)) + (f" [{', '.join(ends)}]" if ends else "")


def make_table(rows: Sequence[RunRow], keys: Sequence[str], columns: Sequence[str], *, form: str) -> str:
    """Runs by the values of settings `keys`; `columns` are metrics, and settings that divide them further.

    Raises ConfigError where runs have none of a key, or where no column is a metric.
    """
    rows = sorted(rows, key=lambda row: row.run_id)
    for key in (*keys, *columns):
        require_key(key, rows)
    if not (metrics := [name for name in columns if any(name in row.metrics for row in rows)]):
        names = ", ".join(metric_names([Side(rows=tuple(rows))])[:8])
        raise ConfigError(f"--columns: given {','.join(columns)}, expected a metric: {names}")
    settings = [name for name in columns if name not in metrics]
    short = {key: _short(key, rows) for key in (*keys, *settings)}

    def values_of(row: RunRow, some: Sequence[str]) -> tuple[str, ...]:
        return tuple(short[key].get(text := as_text(row.value(key)), text) for key in some)

    names, choices = (sorted({values_of(row, some) for row in rows}, key=_order) for some in (keys, settings))
    wanted = [(setting, metric) for setting in choices for metric in metrics]
    table, tests = [], set[str]()
    for setting, metric in wanted:
        runs = [row for row in rows if metric in row.metrics and values_of(row, settings) == setting]
        groups = (tuple(row for row in runs if values_of(row, keys) == name) for name in names)
        cells = [Cell(side=Side(rows=group), metric=metric) for group in groups]
        _mark([cell for cell in cells if math.isfinite(cell.mean)], tests)
        table.append(cells)
    headings = [*keys, *(" ".join([*setting, metric]) for setting, metric in wanted)]
    lines = [(*name, *(cells[index] for cells in table)) for index, name in enumerate(names)]
    made = f"†: not significantly worse than it, by {' and '.join(sorted(tests))}; " if tests else ""
    for heading, cells in zip(headings[len(keys) :], table, strict=True):
        if (count := sum(cell.mark == BEST for cell in cells)) > 1:
            made = f"{count} rows share the best {heading}; {made}"
    return _written(headings, lines, [LEGEND.format(made), *_notes(headings, lines)], form=form)


def _short(key: str, rows: Sequence[RunRow]) -> dict[str, str]:
    """Long texts of a setting's numbers with three digits, or as many more as tell them apart."""
    numbers = {value for row in rows if isinstance(value := row.value(key), float)}
    digits = (n for n in range(3, 17) if len({f"{value:.{n}g}" for value in numbers}) == len(numbers))
    form = f".{next(digits, 17)}g"
    return {text: s for v in numbers if len(s := format(v, form)) < len(text := as_text(v)) - 2}


def _order(texts: Sequence[str]) -> list[tuple[float, str]]:
    """Numbers by their size, before texts."""
    numbers = map(as_number, texts)
    return [(math.inf if n is None else n, text) for n, text in zip(numbers, texts, strict=True)]


def _mark(cells: Sequence[Cell], tests: set[str]) -> None:
    """Mark the best of several cells and what is not significantly worse; adds the names of the tests."""
    if len(cells) < 2:
        return
    pick = min if less_is_better(cells[0].metric, cells[0].side) else max
    best = pick(cells, key=lambda cell: cell.mean)
    for cell in cells:
        if cell.mean == best.mean:
            cell.mark = BEST
            continue
        differences = judge(best.side, cell.side).differences
        for difference in (one for one in differences if one.metric == cell.metric):
            tests.add(difference.method)
            cell.mark = NO_WORSE if difference.better is None else PLAIN


def _notes(headings: Sequence[str], lines: Sequence[Sequence[str | Cell]]) -> Iterator[str]:
    """The runs behind each cell, and what they differ in that is no seed."""
    for line in lines:
        name = ", ".join(text for text in line if isinstance(text, str))
        for heading, cell in zip(headings, line, strict=True):
            if isinstance(cell, Cell) and (runs := cell.side.rows):
                mixed = mixed_settings(cell.side)
                differs = f"; they differ in more than seeds: {', '.join(mixed)}" if mixed else ""
                count = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
                ids = " ".join(row.short_id for row in runs)
                # A line end in a setting's text would end a comment.
                yield " ".join(f"{name} | {heading}: {count}: {ids}{differs}".split())


def _written(
    headings: Sequence[str], lines: Sequence[Sequence[str | Cell]], notes: Sequence[str], *, form: str
) -> str:
    def written(entry: str | Cell) -> str:
        text, mark = (entry.text, entry.mark) if isinstance(entry, Cell) else (" ".join(entry.split()), PLAIN)
        if form == "latex":
            text = "".join(LATEX.get(c, c) for c in text.replace("\\", "/")).replace("±", "$\\pm$")
        return MARKS[form][mark] % (text.replace("|", "\\|") if form == "markdown" else text)

    table = [[*map(written, headings), "runs"]]
    for line in lines:
        counts = sorted({len(cell.side.rows) for cell in line if isinstance(cell, Cell)} - {0}) or [0]
        table.append([*map(written, line), "–".join(map(str, sorted({counts[0], counts[-1]})))])
    if form == "csv":
        stream = io.StringIO()
        stream.writelines(f"# {note}\n" for note in notes)
        csv.writer(stream, lineterminator="\n").writerows([*map(guarded, line)] for line in table)
        return stream.getvalue()
    if form == "markdown":
        table.insert(1, ["---"] * len(table[0]))
        comments = "\n".join(note.replace("--", "- -") for note in notes[1:])
        body = "\n".join(f"| {' | '.join(line)} |" for line in table)
        return f"{body}\n\n{notes[0]}\n\n<!--\n{comments}\n-->\n"
    head, *body = (f"{' & '.join(line)} \\\\" for line in table)
    comments, rows = "".join(f"% {note}\n" for note in notes), "\n".join(body)
    start = f"\\begin{{tabular}}{{{'l' * len(headings)}r}}\n\\toprule\n{head}\n\\midrule"
    return f"{comments}{start}\n{rows}\n\\bottomrule\n\\end{{tabular}}\n"
