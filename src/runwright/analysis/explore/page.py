"""An exploration as one HTML page that loads nothing."""

from __future__ import annotations

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.findings import Finding
from runwright.analysis.explore.show import cell_text, visible
from runwright.analysis.explore.tables import Table as RowTable
from runwright.analysis.explore.tables import label_names, tables
from runwright.report.page.charts import (
    classes_chart,
    data_numbers,
    lengths_chart,
    numbers_chart,
    truncation_chart,
)
from runwright.report.page.document import Chart, Page, Section, Table, Text, cell_of, render


def page(exploration: Exploration, findings: list[Finding]) -> str:
    """One HTML page."""
    num_rows = sum(survey.num_rows for survey in exploration.surveys.values())
    about = f"{num_rows:,} rows in {len(exploration.surveys)} splits; {len(findings)} things need a look"
    blocks = [
        Text(
            summary=f"{finding.level}: {_line(finding.what)}",
            text=finding.hint,
            items=list(map(_line, finding.examples)),
            is_open=finding.level == "problem",
        )
        for finding in findings
    ]
    charts, notes = _charts(exploration), list(map(_line, exploration.data.notes))
    every = tables(exploration)
    details = [_html_table(table, summary=_line(table.title)) for table in every if not table.is_summary]
    return render(
        Page(
            title=f"{exploration.name}: {num_rows:,} rows",
            heading=_line(exploration.name),
            lines=[about, *map(_line, exploration.columns.notes)],
            sections=[
                Section("findings", "What needs a look", blocks or [Text(text="Nothing.")]),
                *(
                    Section(
                        table.name, table.name.capitalize(), [[charts.get(table.name)], _html_table(table)]
                    )
                    for table in every
                    if table.is_summary
                ),
                Section("details", "Details", details),
                Section("notes", "How the rows came about", [Text(items=notes)] if notes else []),
            ],
        )
    )


def _html_table(table: RowTable, summary: str = "") -> Table:
    columns = list(map(_line, table.rows[0]))
    rows = [[cell_of(value, _line(cell_text(value))) for value in row.values()] for row in table.rows]
    return Table(title="" if summary else _line(table.title), columns=columns, rows=rows, summary=summary)


def _charts(exploration: Exploration) -> dict[str, Chart | None]:
    """The chart of a table, by its name."""
    names, limits, max_length = label_names(exploration), exploration.limits, exploration.max_length
    tokens, surveys = exploration.tokens, exploration.surveys
    numbers = data_numbers(
        {split: each.lengths for split, each in tokens.items()},
        max_length=max_length,
        class_counts={
            split: [each.labels[name] for name in names] for split, each in surveys.items() if each.labels
        },
        labels=list(map(_line, names)),
    )
    cut = {split: [each.cut_by(limit) for limit in limits] for split, each in tokens.items()}
    return {
        "lengths": lengths_chart(numbers),
        "truncation": truncation_chart(cut, limits, max_length=max_length),
        "labels": classes_chart(numbers),
        "numbers": numbers_chart(exploration.numbers),
    }


def _line(text: str) -> str:
    return visible(text, longest=400)
