"""What was found, as one HTML page that loads nothing; every text of the data is escaped."""

from __future__ import annotations

import tempfile
from pathlib import Path

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.facts import column_facts, lengths
from runwright.analysis.explore.findings import Finding, share
from runwright.analysis.explore.show import visible
from runwright.report.data_plots import plot_classes, plot_lengths
from runwright.report.explore_plots import plot_numbers, plot_truncation
from runwright.report.page.document import Page, image
from runwright.report.page.markup import Markup, folded, join, table, tag

MAX_UNKNOWN = 20
MAX_CLASSES = 500


def write_page(exploration: Exploration, findings: list[Finding], path: Path) -> Path:
    """Write the page to a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(page(exploration, findings), encoding="utf-8")
    new.replace(path)
    return path


def page(exploration: Exploration, findings: list[Finding]) -> str:
    """The page as text."""
    rows = sum(survey.num_rows for survey in exploration.surveys.values())
    result = Page(title=f"{exploration.name}: {rows:,} rows")
    result.head = join(
        [
            tag("h1", _line(exploration.name)),
            tag(
                "p", f"{rows:,} rows in {len(exploration.surveys)} splits; {len(findings)} things need a look"
            ),
            *(tag("p", _line(note)) for note in exploration.chosen.notes),
        ]
    )
    plots = _plots(exploration)
    result.section("findings", "What needs a look", *_findings(findings))
    result.section("splits", "Splits", _overview(exploration), *plots.get("lengths", []))
    result.section("labels", "Labels", *plots.get("labels", []), *_labels(exploration))
    result.section("tokens", "Tokens", *_tokens(exploration), *plots.get("truncation", []))
    result.section("columns", "Columns", *_columns(exploration))
    notes = (
        [tag("ul", *(tag("li", _line(note)) for note in exploration.data.notes))]
        if exploration.data.notes
        else []
    )
    result.section("notes", "How the rows came about", *notes)
    return result.render()


def _line(text: str) -> str:
    return visible(text, longest=400)


def _findings(findings: list[Finding]) -> list[Markup]:
    if not findings:
        return [tag("p", "Nothing.")]
    shown = []
    for finding in findings:
        examples = [tag("li", _line(example)) for example in finding.examples]
        inside = [tag("p", finding.hint)] if finding.hint else []
        inside += [tag("ul", *examples)] if examples else []
        shown.append(
            folded(f"{finding.level}: {_line(finding.what)}", *inside, is_open=finding.level == "problem")
        )
    return shown


def _overview(exploration: Exploration) -> Markup:
    columns = ["split", "rows", "measure", "mean", "median", "95 %", "99 %", "longest"]
    rows = []
    for split, survey in exploration.surveys.items():
        measures = {"characters": survey.characters, "words": survey.words}
        if split in exploration.tokens:
            measures["tokens"] = exploration.tokens[split].lengths
        rows += [[split, survey.num_rows, name, *lengths(each).values()] for name, each in measures.items()]
    return table("Rows and lengths of the texts", columns, rows, numbers=[*columns[1:2], *columns[3:]])


def _labels(exploration: Exploration) -> list[Markup]:
    labelled = {name: each.labels for name, each in exploration.surveys.items() if each.labels.counts}
    if not exploration.are_classes or not labelled:
        return []
    names = [name for name, _ in next(iter(labelled.values())).most_common()]
    names += sorted({name for each in labelled.values() for name in each.counts} - set(names))
    rows = [[_line(n), *(each.counts[n] for each in labelled.values())] for n in names[:MAX_CLASSES]]
    return [table("Labels by split", ["label", *labelled], rows, numbers=list(labelled))]


def _tokens(exploration: Exploration) -> list[Markup]:
    if not exploration.tokens:
        return []
    columns = [
        "split",
        "rows read",
        "tokens a word",
        "characters a token",
        "whole words",
        "unknown",
        "vocabulary",
    ]
    rows = [
        [
            split,
            tokens.num_rows,
            tokens.num_tokens / max(tokens.num_words, 1),
            tokens.num_characters / max(tokens.num_tokens, 1),
            share(tokens.num_whole_words, tokens.num_words),
            share(tokens.num_unknown, tokens.num_tokens),
            f"{int(tokens.used.sum()):,} of {len(tokens.used):,}",
        ]
        for split, tokens in exploration.tokens.items()
    ]
    found = [
        table(f"What {exploration.tokenizer_name} makes of the texts", columns, rows, numbers=columns[1:])
    ]
    cut = [
        [split, point["max_length"], f"{point['rows']:.2%}", f"{point['tokens']:.2%}"]
        for split, tokens in exploration.tokens.items()
        for point in tokens.truncation(exploration.limits)
    ]
    columns = ["split", "max_length", "cut", "tokens lost"]
    if cut:
        shown = table("Truncation", columns, cut, numbers=columns[1:])
        found.append(folded("Truncation at several lengths", shown))
    unknown = [
        [split, visible(piece, longest=40), count]
        for split, tokens in exploration.tokens.items()
        for piece, count in tokens.unknown[:MAX_UNKNOWN]
    ]
    if unknown:
        caption = "Pieces that the tokenizer does not know"
        found.append(folded(caption, table(caption, ["split", "piece", "times"], unknown, numbers=["times"])))
    return found


def _columns(exploration: Exploration) -> list[Markup]:
    columns = ["split", "column", "type", "null", "different", "most frequent", "rows of it", "range"]
    rows = []
    for split, survey in exploration.surveys.items():
        for name, column in survey.columns.items():
            found = column_facts(column)
            top = found["most_frequent"] or {"value": "", "rows": 0}
            different = f"{'' if found['distinct_is_exact'] else 'about '}{found['distinct']:,}"
            spread = f"{found['min']:.4g} to {found['max']:.4g}" if "min" in found else ""
            value = visible(str(top["value"]), longest=60)
            rows.append(
                [split, _line(name), found["kind"], found["nulls"], different, value, top["rows"], spread]
            )
    return [table("Columns", columns, rows, numbers=["null", "different", "rows of it"])]


def _plots(exploration: Exploration) -> dict[str, list[Markup]]:
    """Pictures by section."""
    found: dict[str, list[Markup]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = {split: each.values for split, each in exploration.tokens.items() if len(each.values)}
        if tokens:
            file = plot_lengths(folder / "lengths.png", tokens, max_length=exploration.max_length)
            found["lengths"] = [image(file, title="Tokens of each text")]
        if tokens and exploration.limits:
            cut = {split: each.truncation(exploration.limits) for split, each in exploration.tokens.items()}
            file = plot_truncation(folder / "truncation.png", cut, max_length=exploration.max_length)
            found["truncation"] = [image(file, title="What each max_length cuts")]
        labels = {name: each.labels for name, each in exploration.surveys.items() if each.labels.counts}
        if exploration.numbers:
            file = plot_numbers(folder / "labels.png", exploration.numbers)
            found["labels"] = [image(file, title="Labels by split")]
        elif labels and exploration.are_classes:
            names = sorted({name for each in labels.values() for name in each.counts})
            counts = {split: [each.counts[name] for name in names] for split, each in labels.items()}
            file = plot_classes(folder / "labels.png", counts, [visible(name, longest=40) for name in names])
            found["labels"] = [image(file, title="Labels by split")]
    return found
