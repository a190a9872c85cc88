"""`runwright explore`: tables on the terminal, and one HTML page that loads nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from runwright import build
from runwright.analysis.explore.explore import Exploration, choose_columns
from runwright.analysis.explore.findings import Finding, Share, Table, find, label_names, tables
from runwright.config.compose import checked, compose
from runwright.config.targets import GROUPS
from runwright.dataset.checks import describe
from runwright.dataset.load import LoadedData
from runwright.errors import ConfigError, DataError, plain
from runwright.report.page import charts, document
from runwright.report.page.document import Section, cell_of
from runwright.report.terminal import number_text, print_table, result_console, shorten, table_of

MAX_ROWS = 12  # of a table on the terminal
MAX_EXAMPLES = 2  # of a finding on the terminal
MAX_LINE = 400  # characters
USED_GROUPS = {"dataset", "tokenizer", "task"}  # a tokenizer may be the model's by its name


def explore_config(
    overrides: Sequence[str],
    *,
    output: Path | None,
    with_tokens: bool,
    token_rows: int,
    allow_shadow: bool = False,
) -> None:
    """Explore the data that a run with these overrides would train on; print the findings, write the page."""
    composed = checked(compose(overrides, allow_shadow=allow_shadow), idle=GROUPS.keys() - USED_GROUPS)
    config = _without_streams(composed.config)
    name = str(composed.choices.get("experiment") or composed.choices.get("dataset") or "dataset")
    console = result_console()
    with console.status("reading"):
        data = build.load_data(config)
        tokenizer = build.build_tokenizer(config, data) if with_tokens else None
        task = _build_task(config, tokenizer)
        exploration = Exploration(
            name=name,
            data=data,
            columns=choose_columns(data, task),
            tokenizer=tokenizer,
            tokenizer_name=str(config["tokenizer"].get("name") or "the tokenizer") if tokenizer else None,
            max_length=config["task"].get("max_length"),
            token_rows=token_rows,
        )
        findings = find(exploration)
        file = output or Path(config["output_dir"]) / "explore" / f"{name.replace('/', '-')}.html"
        document.save(page(exploration, findings), file)
    print_exploration(exploration, findings, _first_look(config, data, task), console=console)
    console.print(f"\n page     {file}", soft_wrap=True)


def _build_task(config: Mapping[str, Any], tokenizer: Any | None) -> Any | None:
    """The task, for its columns alone; None where it cannot be made without a tokenizer."""
    try:
        return build.build_task(config, tokenizer)
    except (AttributeError, TypeError):
        if tokenizer is not None:
            raise
        return None


def _without_streams(value: Any) -> Any:
    """The same configuration with every data set read as a whole: surveys want all rows."""
    if isinstance(value, Mapping):
        return {key: key != "streaming" and _without_streams(inner) for key, inner in value.items()}
    return [_without_streams(inner) for inner in value] if isinstance(value, list) else value


def _first_look(config: Mapping[str, Any], data: LoadedData, task: Any) -> list[str]:
    """Lines that `train` shows of the data, or the reason for which it would refuse it."""
    if task is None:
        return data.notes
    try:
        build.fit_task(task, data, config)
        looks = build.look(data, task)
    except (ConfigError, DataError) as error:
        return [*data.notes, f"train would refuse this: {plain(str(error))}"]
    return [*describe(data, task, looks, source=config["dataset"].get("source") or {}, cut={})]


def print_exploration(
    exploration: Exploration, findings: Sequence[Finding], lines: Sequence[str] = (), *, console: Console
) -> None:
    """Print a first look, the other tables of the summary, then the findings."""
    for line in (*map(_line, exploration.columns.notes), *lines):
        console.print(Text(f" {line}", style="dim"), soft_wrap=True)
    for table in tables(exploration):
        if table.is_summary and table.name != "splits":
            title = visible(table.title, longest=console.width - 1)
            console.print(Text(f"\n {title}", style="bold"), soft_wrap=True)
            print_table(_rich_table(table), console=console, left=1)
    console.print()
    if not findings:
        console.print(Text(" nothing needs a look", style="bold green"))
    for finding in findings:
        style = "bold red" if finding.level == "problem" else "bold yellow"
        console.print(Text.assemble((f" {finding.level:<8}", style), _line(finding.what)), soft_wrap=True)
        if finding.hint:
            console.print(Text(f"{'':9}{visible(finding.hint, longest=200)}", style="dim"), soft_wrap=True)
        for example in finding.examples[:MAX_EXAMPLES]:
            cut = visible(example, longest=max(40, console.width - 14))
            console.print(Text(f"{'':9}  “{cut}”", style="dim italic"), no_wrap=True)


def _rich_table(table: Table) -> RichTable:
    """A long table without the rows between its first and its last ones."""
    rows = [[visible(_cell_text(cell), longest=40) for cell in row.values()] for row in table.rows]
    if len(rows) > MAX_ROWS:
        rows[MAX_ROWS - 3 : -2] = [["…"]]
    headings = [visible(name, longest=40) for name in table.rows[0]]
    texts = {name for row in table.rows for name, value in row.items() if isinstance(value, str)}
    right = [heading for heading, name in zip(headings, table.rows[0], strict=True) if name not in texts]
    return table_of(headings, rows, right=right)


def page(exploration: Exploration, findings: Sequence[Finding]) -> str:
    """One HTML page: findings, tables with their charts, details, notes."""
    num_rows = sum(survey.num_rows for survey in exploration.surveys.values())
    about = f"{num_rows:,} rows in {len(exploration.surveys)} splits; {len(findings)} things need a look"
    blocks = [
        document.Text(
            summary=f"{finding.level}: {_line(finding.what)}",
            text=finding.hint,
            items=list(map(_line, finding.examples)),
            is_open=finding.level == "problem",
        )
        for finding in findings
    ]
    by_name, notes, details = _charts(exploration), list(map(_line, exploration.data.notes)), []
    sections = [Section("findings", "What needs a look", blocks or [document.Text(text="Nothing.")])]
    for table in tables(exploration):
        title = _line(table.title)
        shown = document.Table(
            title=title if table.is_summary else "",
            columns=list(map(_line, table.rows[0])),
            rows=[[cell_of(value, _line(_cell_text(value))) for value in row.values()] for row in table.rows],
            summary="" if table.is_summary else title,
        )
        if table.is_summary:
            sections.append(Section(table.name, table.name.capitalize(), [[by_name.get(table.name)], shown]))
        else:
            details.append(shown)
    sections.append(Section("details", "Details", details))
    sections.append(Section("notes", "How the rows came about", [document.Text(items=notes)] * bool(notes)))
    title, lines = f"{exploration.name}: {num_rows:,} rows", [about, *map(_line, exploration.columns.notes)]
    heading = _line(exploration.name)
    return document.render(document.Page(title=title, heading=heading, lines=lines, sections=sections))


def _charts(exploration: Exploration) -> dict[str, document.Chart | None]:
    names = label_names(exploration)
    labels = {split: survey.labels for split, survey in exploration.surveys.items() if survey.labels}
    lengths = {split: tokens.lengths for split, tokens in exploration.tokens.items()}
    counts = {split: [counts[name] for name in names] for split, counts in labels.items()}
    return {
        "lengths": charts.lengths_chart(lengths, max_length=exploration.max_length),
        "labels": charts.classes_chart(counts, list(map(_line, names))),
        "numbers": charts.numbers_chart(exploration.numbers),
    }


def _cell_text(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, Share):
        return number_text(value)
    return "" if value is None else str(value)


def _line(text: str) -> str:
    return visible(text, longest=MAX_LINE)


def visible(text: str, *, longest: int) -> str:
    """One line without characters that a terminal obeys or that hide others."""
    flat = " ".join(text.split())
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in flat[: longest + 1])
    return shorten(shown, longest)
