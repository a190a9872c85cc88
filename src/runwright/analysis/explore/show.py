"""What was found, on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runwright.analysis.explore.explore import Exploration, shares_of
from runwright.analysis.explore.findings import Finding, share
from runwright.report.terminal import print_table

MAX_CLASSES = 12
MAX_LIMITS = 6
MAX_EXAMPLES = 2


def show(exploration: Exploration, findings: list[Finding], *, console: Console) -> None:
    """Tables of rows, lengths, truncation and classes, then what needs a look."""
    for note in (*exploration.chosen.notes, *exploration.data.notes):
        console.print(Text(f" {visible(note, longest=400)}", style="dim"), soft_wrap=True)
    for table in _tables(exploration):
        print_table(table, console=console, above=1, left=1)
    console.print()
    if not findings:
        console.print(Text(" nothing needs a look", style="bold green"))
    for finding in findings:
        style = "bold red" if finding.level == "problem" else "bold yellow"
        line = Text.assemble((f" {finding.level:<8}", style), visible(finding.what, longest=400))
        console.print(line, soft_wrap=True)
        if finding.hint:
            console.print(Text(f"{'':9}{visible(finding.hint, longest=200)}", style="dim"), soft_wrap=True)
        for example in finding.examples[:MAX_EXAMPLES]:
            cut = visible(example, longest=max(40, console.width - 14))
            console.print(Text(f"{'':9}  “{cut}”", style="dim italic"), no_wrap=True)


def visible(text: str, *, longest: int) -> str:
    """One line without anything that a terminal obeys or that hides."""
    flat = " ".join(text.split())
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in flat[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _tables(exploration: Exploration) -> Iterable[Table]:
    yield _overview(exploration)
    if exploration.tokens:
        if exploration.limits:
            yield _truncation(exploration)
        yield _vocabulary(exploration)
    if exploration.are_classes:
        yield _classes(exploration)
    elif exploration.numbers:
        yield _numbers(exploration)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(
            Text(visible(name, longest=40)), justify="left" if place == 0 else "right", no_wrap=True
        )
    return table


def _overview(exploration: Exploration) -> Table:
    spread = "median, 95 %, longest"
    tokens = [f"tokens: {spread}"] if exploration.tokens else []
    table = _table("split", "rows", f"characters: {spread}", *tokens, "equal", "nearly")
    for split, survey in exploration.surveys.items():
        sampled = exploration.tokens.get(split)
        measured = [survey.characters] + ([sampled.lengths] if sampled else [])
        cells = [f"{each.quantile(0.5):,}, {each.quantile(0.95):,}, {each.longest:,}" for each in measured]
        cells += [""] * (1 + len(tokens) - len(cells))
        repeated = {o.kind: o.rows for o in exploration.overlaps if o.split == o.other == split}
        cells += [f"{repeated.get(kind, 0):,}" for kind in ("exact", "near")]
        table.add_row(Text(visible(split, longest=30)), f"{survey.num_rows:,}", *cells)
    return table


def _truncation(exploration: Exploration) -> Table:
    limits = exploration.limits[-MAX_LIMITS:]
    table = _table("cut at, % of rows (of tokens)", *(str(limit) for limit in limits))
    for split, tokens in exploration.tokens.items():
        cells = [f"{100 * cut['rows']:.1f} ({100 * cut['tokens']:.1f})" for cut in tokens.truncation(limits)]
        table.add_row(Text(visible(split, longest=30)), *cells)
    return table


def _vocabulary(exploration: Exploration) -> Table:
    name = exploration.tokenizer_name or "tokenizer"
    table = _table(name, "rows read", "tokens/word", "whole words", "unknown", "vocabulary used")
    for split, tokens in exploration.tokens.items():
        table.add_row(
            Text(visible(split, longest=30)),
            f"{tokens.num_rows:,}",
            f"{tokens.num_tokens / max(tokens.num_words, 1):.2f}",
            share(tokens.num_whole_words, tokens.num_words),
            share(tokens.num_unknown, tokens.num_tokens),
            f"{int(tokens.used.sum()):,} of {len(tokens.used):,}",
        )
    return table


def _classes(exploration: Exploration) -> Table:
    labelled = {name: each for name, each in exploration.surveys.items() if each.labels.counts}
    shares = {split: shares_of(survey.labels.counts) for split, survey in labelled.items()}
    first = next(iter(labelled.values()))
    names = [name for name, _ in first.labels.most_common()]
    names += sorted({name for each in labelled.values() for name in each.labels.counts} - set(names))
    table = _table(f"{exploration.chosen.label_column}, {len(names)} classes", *labelled)
    shown = names if len(names) <= MAX_CLASSES else [*names[: MAX_CLASSES - 3], "", *names[-2:]]
    for name in shown:
        cells = ["…" if not name else f"{100 * shares[split].get(name, 0):.1f} %" for split in labelled]
        table.add_row(Text(visible(name, longest=30)), *cells)
    return table


def _numbers(exploration: Exploration) -> Table:
    table = _table(str(exploration.chosen.label_column), "mean", "deviation", "lowest", "median", "highest")
    for split, values in exploration.numbers.items():
        if len(values):
            figures = (
                values.mean(),
                values.std(),
                values.min(),
                float(sorted(values)[len(values) // 2]),
                values.max(),
            )
            table.add_row(Text(visible(split, longest=30)), *(f"{figure:.4g}" for figure in figures))
    return table
