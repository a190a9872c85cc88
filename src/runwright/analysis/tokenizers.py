"""What `runwright tokenizer` shows: one tokenizer, several on the same texts, the pieces of a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runwright.errors import ConfigError
from runwright.report.terminal import print_table, result_console
from runwright.runs.folder import LATEST, Need, resolve_run
from runwright.tokenizer.pretrained import open_saved
from runwright.tokenizer.source import TOKENIZER_FOLDER
from runwright.tokenizer.statistics import Piece, cut, describe, measure

COLORS = ("on blue", "on dark_green", "on dark_magenta", "on dark_cyan")
COLUMNS = {
    "vocab_size": "size",
    "vocabulary_used": "used",
    "tokens_per_word": "per word",
    "unknown_rate": "unknown",
    "characters_per_token": "chars each",
    "bytes_per_token": "bytes each",
    "megabytes_per_second": "MB/s",
}
SHARES = ("unknown_rate", "vocabulary_used")


def open_tokenizer(name: str) -> Any:
    """A tokenizer by hub name, folder, package:NAME/folder, or the one of a run: latest, latest:NAME."""
    if name == LATEST or name.startswith(f"{LATEST}:"):
        folder = resolve_run(name, needs=Need("tokenizer", lambda run: bool(_folders_in(run))))
        found = _folders_in(folder)
        if not found:
            raise ConfigError(f"{name}: {folder} has no tokenizer yet")
        name = str(found[0])
    return open_saved(name)


def _folders_in(run: Path) -> list[Path]:
    return [run / part for part in (TOKENIZER_FOLDER, "best") if (run / part).is_dir()]


def report_on(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """One tokenizer and how it cuts some texts, for JSON."""
    tokenizer = open_tokenizer(name)
    return {"name": name, **describe(tokenizer), "texts": [_cut(tokenizer, text) for text in texts]}


def compare(names: Sequence[str], texts: Iterable[str], shown: Sequence[str]) -> list[dict[str, Any]]:
    """Figures of each tokenizer over the texts, and how it cuts those to be shown, for JSON."""
    texts = list(texts)
    if not texts:
        raise ConfigError("runwright tokenizer compare: there is no text to compare on")
    found = []
    for name in names:
        tokenizer = open_tokenizer(name)
        figures = measure(tokenizer, texts)
        pieces = [_cut(tokenizer, text) for text in shown]
        found.append({"name": name, **asdict(figures), **figures.rates(), "texts": pieces})
    return found


def show(report: Mapping[str, Any]) -> None:
    """Print what `report_on` gave."""
    console = result_console()
    steps = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    lines = {
        "tokenizer": report["name"],
        "model": f"{report['model']}, {report['vocab_size']:,} tokens",
        **{name: " → ".join(report[name]) or "none" for name in steps},
        "special": ", ".join(
            f"{name.removesuffix('_token')} {entry['token']} ({entry['id']})"
            for name, entry in report["special_tokens"].items()
        ),
        "extra": ", ".join(report["extra_special_tokens"]) or "none",
        "A and B": " ".join(report["pair"]),
        "max_length": "not set" if report["max_length"] is None else str(report["max_length"]),
        "padding": report["padding_side"],
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        console.print(f"{name:<{width}}  {value}", markup=False, soft_wrap=True)
    _show_pieces(console, [(report["name"], report["texts"])], is_alone=True)


def show_comparison(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print what `compare` gave."""
    console = result_console()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("tokenizer", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        table.add_row(Text(report["name"]), *(_figure(name, report[name]) for name in COLUMNS))
    print_table(table, console=console)
    first = reports[0]
    console.print(
        f"\n{first['num_texts']:,} texts, {first['num_words']:,} words (a Chinese character is one), "
        f"{first['num_bytes']:,} bytes; per word, chars and bytes each: of a token, without special ones",
        soft_wrap=True,
    )
    _show_pieces(console, [(report["name"], report["texts"]) for report in reports], is_alone=False)


def _cut(tokenizer: Any, text: str) -> dict[str, Any]:
    pieces = cut(tokenizer, text)
    return {
        "text": text,
        "num_tokens": sum(len(piece.tokens) for piece in pieces),
        "pieces": [asdict(piece) for piece in pieces],
    }


def _show_pieces(
    console: Console, found: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], *, is_alone: bool
) -> None:
    for place in range(len(found[0][1])):
        console.print()
        for name, texts in found:
            entry = texts[place]
            heading = f"{entry['num_tokens']} tokens" + ("" if is_alone else f"  {name}")
            console.print(heading, style="dim", markup=False)
            console.print(_painted([Piece(**piece) for piece in entry["pieces"]], console), soft_wrap=True)


def _painted(pieces: Sequence[Piece], console: Console) -> Text:
    """Pieces in turning colours; where there are none, with a bar between them."""
    line = Text()
    for index, piece in enumerate(pieces):
        shown = " ".join(piece.tokens) if piece.unknown else piece.text.replace("\n", "⏎")
        if console.is_terminal:
            line.append(shown, style="bold white on red" if piece.unknown else COLORS[index % len(COLORS)])
        else:
            line.append(("|" if index else "") + shown)
    return line


def _figure(name: str, value: float) -> str:
    if name in SHARES:
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
