"""`runwright explore`: tables on the terminal, and one HTML page that loads nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from runwright import build
from runwright.analysis.explore.findings import Finding, find, tables, visible
from runwright.analysis.explore.survey import Exploration, task_columns
from runwright.config.compose import checked, compose
from runwright.config.options import with_values
from runwright.config.targets import GROUPS
from runwright.dataset.checks import describe, missing_column
from runwright.errors import ConfigError, DataError, plain
from runwright.report.page import charts, document
from runwright.report.page.document import Section
from runwright.report.terminal import print_table, result_console, table_of
from runwright.store import write_text

MAX_ROWS = 12  # of a table on the terminal
MAX_EXAMPLES = 2  # of a finding on the terminal
USED_GROUPS = {"dataset", "tokenizer", "task"}  # a tokenizer may be the model's by its name


def explore_config(overrides: Sequence[str]) -> None:
    """Explore the data that a run with these overrides would train on; print the findings, write the page."""
    composed = checked(compose(overrides), idle=GROUPS.keys() - USED_GROUPS)
    # Every data set is read as a whole: surveys want all rows.
    config = with_values(composed.config, lambda key, value: False if key.endswith(".streaming") else value)
    name = str(composed.choices.get("experiment") or composed.choices.get("dataset") or "dataset")
    console = result_console()
    with console.status("reading"):
        data = build.load_data(config)
        tokenizer = build.build_tokenizer(config, data)
        task = build.build_task(config, tokenizer)
        columns = task_columns(task, next(iter(data.splits.values())))
        for split, rows in data.splits.items():
            for column in columns.text_columns:
                if column not in rows.column_names:
                    option = build.column_options(config).get(column, "")
                    raise missing_column(column, rows, split=split, option=option)
        exploration = Exploration(data=data, columns=columns, tokenizer=tokenizer)
        findings, first_look = find(exploration), _first_look(config, exploration, task)
        file = Path(config["output_dir"]).expanduser() / "explore" / f"{name.replace('/', '-')}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, page(name, exploration, findings, first_look))
    print_exploration(exploration, findings, first_look, console=console)
    console.print(f"\n page     {file}", soft_wrap=True)


def _first_look(config: Mapping[str, Any], exploration: Exploration, task: Any) -> list[str]:
    """Lines that `train` shows of the data, or the reason for which it would refuse it."""
    data, limit = exploration.data, exploration.columns.max_length
    try:
        build.fit_task(task, data, config)
        looks = build.look(data, task)
    except (ConfigError, DataError) as error:
        return list(map(plain, [*data.notes, f"train would refuse this: {error}"]))
    cut = {split: tokens.cut_by(limit) for split, tokens in exploration.tokens.items() if limit}
    return [*describe(data, task, looks, source=config["dataset"].get("source") or {}, cut=cut)]


def print_exploration(
    exploration: Exploration, findings: Sequence[Finding], first_look: Sequence[str], *, console: Console
) -> None:
    """Print a first look, the tables, then the findings."""
    for line in first_look:
        console.print(Text(f" {line}", style="dim"), soft_wrap=True)
    for table in tables(exploration):
        console.print(Text(f"\n {visible(table.title, longest=console.width - 1)}", style="bold"))
        rows = [[visible(cell.text, longest=40) for cell in row] for row in table.cells]
        if len(rows) > MAX_ROWS:
            rows[MAX_ROWS - 3 : -2] = [["…"]]
        right = {n for row in table.cells for n, cell in zip(table.columns, row, strict=True) if cell.kind}
        print_table(table_of(table.columns, rows, right=right), console=console, left=1)
    console.print()
    if not findings:
        console.print(Text(" nothing needs a look", style="bold green"))
    for finding in findings:
        style = "bold red" if finding.level == "problem" else "bold yellow"
        console.print(Text.assemble((f" {finding.level:<8}", style), visible(finding.what)), soft_wrap=True)
        if finding.hint:
            console.print(Text(f"{'':9}{visible(finding.hint, longest=200)}", style="dim"), soft_wrap=True)
        for example in finding.examples[:MAX_EXAMPLES]:
            cut = visible(example, longest=max(40, console.width - 14))
            console.print(Text(f"{'':9}  “{cut}”", style="dim italic"), no_wrap=True)


def page(name: str, exploration: Exploration, findings: Sequence[Finding], first_look: Sequence[str]) -> str:
    """One HTML page with what the terminal says, and charts of lengths and labels."""
    surveys, names = exploration.surveys, exploration.label_names
    blocks = [
        document.Text(
            summary=f"{finding.level}: {visible(finding.what)}",
            text=finding.hint,
            items=list(map(visible, finding.examples)),
            is_open=finding.level == "problem",
        )
        for finding in findings
    ]
    lengths = {split: tokens.lengths for split, tokens in exploration.tokens.items()}
    labels = {split: [one.labels[name] for name in names] for split, one in surveys.items() if one.labels}
    drawn = [
        charts.lengths_chart(lengths, max_length=exploration.columns.max_length),
        charts.classes_chart(labels, list(map(visible, names))),
        charts.numbers_chart(exploration.numbers),
    ]
    sections = [
        Section("findings", "What needs a look", blocks or [document.Text(text="Nothing.")]),
        Section("look", "How it was read", [document.Text(text="\n".join(first_look), is_code=True)]),
        Section("charts", "Lengths and labels", [drawn, *tables(exploration)]),
    ]
    num_rows = sum(survey.num_rows for survey in surveys.values())
    lines = [f"{num_rows:,} rows in {len(surveys)} splits; {len(findings)} things need a look"]
    title = f"{name}: {num_rows:,} rows"
    return document.render(sections, title=title, heading=name, lines=lines)
