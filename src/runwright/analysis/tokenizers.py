"""`runwright tokenizer show` and `compare`: one tokenizer, several on the same texts, pieces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column
from rich.text import Text

from runwright.errors import ConfigError
from runwright.report.terminal import plain_table, print_table, result_console
from runwright.runs.folder import LATEST, Need, resolve_run
from runwright.tokenizer.pretrained import open_saved
from runwright.tokenizer.statistics import STEPS, cut, describe, measure, table
from runwright.tokenizer.trained import TOKENIZER_FOLDER

COLORS = ("on blue", "on dark_green", "on dark_magenta", "on dark_cyan")
COLUMNS = {  # heading and format
    "vocab_size": ("size", ","),
    "vocabulary_used": ("used", ".2%"),
    "tokens_per_word": ("per word", ".2f"),
    "unknown_rate": ("unknown", ".2%"),
    "characters_per_token": ("chars each", ".2f"),
    "bytes_per_token": ("bytes each", ".2f"),
    "megabytes_per_second": ("MB/s", ".2f"),
}


def _open(name: str) -> Any:
    """A tokenizer by hub name, folder, package:NAME/folder, or the one of a run: latest, latest:NAME."""
    if name.partition(":")[0] != LATEST:
        return open_saved(name)

    def folder_in(run: Path) -> Path | None:
        return next((folder for folder in (run / TOKENIZER_FOLDER, run / "best") if folder.is_dir()), None)

    run = resolve_run(name, needs=Need("tokenizer", lambda run: folder_in(run) is not None))
    if (folder := folder_in(run)) is None:
        raise ConfigError(f"{name}: {run} has no tokenizer yet")
    return open_saved(str(folder))


def report_on(name: str, texts: Sequence[str], *, pair: str | None = None) -> dict[str, Any]:
    """Description of a tokenizer, and pieces and tokens of some texts (with a second one), for JSON."""
    tokenizer = _open(name)
    reports = [report | table(tokenizer, report["text"], pair) for report in _pieces_of(tokenizer, texts)]
    return {"name": name, **describe(tokenizer), "texts": reports}


def compare(names: Sequence[str], texts: Iterable[str], shown: Sequence[str]) -> list[dict[str, Any]]:
    """Statistics of each tokenizer over the texts, and the pieces of those to be shown, for JSON."""
    texts = list(texts)
    if not texts:
        raise ConfigError("runwright tokenizer compare: there is no text to compare on")
    reports = []
    for name, tokenizer in zip(names, map(_open, names), strict=True):
        counts = measure(tokenizer, texts)
        report = {"name": name, **asdict(counts), **counts.rates()}
        reports.append(report | {"texts": _pieces_of(tokenizer, shown)})
    return reports


def _pieces_of(tokenizer: Any, texts: Sequence[str]) -> list[dict[str, Any]]:
    reports = []
    for text in texts:
        pieces = [asdict(piece) for piece in cut(tokenizer, text)]
        reports.append({"text": text, "num_tokens": sum(len(p["tokens"]) for p in pieces), "pieces": pieces})
    return reports


def show_table(report: Mapping[str, Any]) -> None:
    """Print the tokens of each text of `report_on`, one a line, and what decoding does not give back."""
    console = result_console()
    headings = ("token", "id", "type", "word", "characters", "special")
    for text in report["texts"]:
        columns = [Column(name, justify="left" if name == "token" else "right") for name in headings]
        lines = plain_table(*columns)
        for token in text["tokens"]:
            span = "" if token["sequence"] is None else f"{token['start']}–{token['end']}"
            cells = [token["token"], token["id"], token["type"], token["word"], span]
            cells = ["" if cell is None else str(cell) for cell in cells]
            lines.add_row(*map(Text, cells), "special" if token["special"] else "")
        print_table(lines, console=console, above=1)
        changes = [f"{was or 'nothing'} → {now or 'nothing'}" for was, now in text["lost"]] or ["nothing"]
        decoded = " | ".join(map(repr, text["decoded"]))
        console.print(f"decoded: {decoded}\nlost: {', '.join(changes)}", markup=False, soft_wrap=True)


def show(report: Mapping[str, Any]) -> None:
    """Print the result of `report_on`."""
    console = result_console()
    special = report["special_tokens"].items()
    lines = {
        "tokenizer": report["name"],
        "model": f"{report['model']}, {report['vocab_size']:,} tokens",
        **{name: " → ".join(report[name]) or "none" for name in STEPS},
        "special": ", ".join(f"{k.removesuffix('_token')} {v['token']} ({v['id']})" for k, v in special),
        "extra": ", ".join(report["extra_special_tokens"]) or "none",
        "A and B": " ".join(report["pair"]),
        "max_length": "not set" if report["max_length"] is None else str(report["max_length"]),
        "padding": report["padding_side"],
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        console.print(f"{name:<{width}}  {value}", markup=False, soft_wrap=True)
    _show_pieces(console, [report])


def show_comparison(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print the result of `compare`."""
    console = result_console()
    columns = [Column(heading, justify="right", no_wrap=True) for heading, _ in COLUMNS.values()]
    lines = plain_table(Column("tokenizer", no_wrap=True), *columns)
    for report in reports:
        cells = (format(report[name], spec) for name, (_, spec) in COLUMNS.items())
        lines.add_row(Text(report["name"]), *cells)
    print_table(lines, console=console)
    first = reports[0]
    console.print(
        f"\n{first['num_texts']:,} texts, {first['num_words']:,} words (a Chinese character is one), "
        f"{first['num_bytes']:,} bytes; per word, chars and bytes each: of a token, without special ones",
        soft_wrap=True,
    )
    _show_pieces(console, reports)


def _show_pieces(console: Console, reports: Sequence[Mapping[str, Any]]) -> None:
    """Print the pieces of each text in turning colours; outside a terminal, with a bar between them."""
    for index in range(len(reports[0]["texts"])):
        console.print()
        for report in reports:
            text = report["texts"][index]
            name = f"  {report['name']}" if len(reports) > 1 else ""
            console.print(f"{text['num_tokens']} tokens{name}", style="dim", markup=False)
            line = Text()
            for number, piece in enumerate(text["pieces"]):
                shown = " ".join(piece["tokens"]) if piece["unknown"] else piece["text"].replace("\n", "⏎")
                color = "bold white on red" if piece["unknown"] else COLORS[number % len(COLORS)]
                bar = "|" * (number > 0 and not console.is_terminal)
                line.append(bar + shown, style=color if console.is_terminal else None)
            console.print(line, soft_wrap=True)
