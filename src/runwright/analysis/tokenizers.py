"""`runwright tokenizer show` and `compare`: one tokenizer and its tokens, several on the same texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError
from runwright.report.terminal import print_table, result_console, table_of
from runwright.runs.folder import LATEST, Need, resolve_run
from runwright.tokenizer.pretrained import open_saved
from runwright.tokenizer.statistics import STEPS, describe, encoded, measure
from runwright.tokenizer.trained import TOKENIZER_FOLDER

COLUMNS = {  # heading and format
    "vocab_size": ("size", ","),
    "vocabulary_used": ("used", ".2%"),
    "tokens_per_word": ("per word", ".2f"),
    "unknown_rate": ("unknown", ".2%"),
    "characters_per_token": ("chars each", ".2f"),
}


def _open(name: str) -> Any:
    """A tokenizer by hub name, folder, package:NAME/folder, or the one of a run: latest, latest:NAME."""
    if name.partition(":")[0] != LATEST:
        return open_saved(name)

    def folders_in(run: Path) -> list[Path]:
        return [folder for folder in (run / TOKENIZER_FOLDER, run / "best") if folder.is_dir()]

    run = resolve_run(name, needs=Need("tokenizer", lambda run: bool(folders_in(run))))
    for folder in folders_in(run):
        return open_saved(str(folder))
    raise ConfigError(f"{name}: {run} has no tokenizer yet")


def report_on(name: str, texts: Sequence[str], *, pair: str | None = None) -> dict[str, Any]:
    """Description of a tokenizer, and the tokens of some texts (each with a second one), for JSON."""
    tokenizer = _open(name)
    reports = [{"text": text, **encoded(tokenizer, text, pair)} for text in texts]
    return {"name": name, **describe(tokenizer), "texts": reports}


def compare(names: Sequence[str], texts: Iterable[str], shown: Sequence[str]) -> list[dict[str, Any]]:
    """Statistics of each tokenizer over the texts, and the tokens of those to be shown, for JSON."""
    texts = list(texts)
    if not texts:
        raise ConfigError("runwright tokenizer compare: there is no text to compare on")
    reports = []
    for name, tokenizer in zip(names, map(_open, names), strict=True):
        counts = measure(tokenizer, texts)
        tokens = [{"text": text, "tokens": tokenizer.tokenize(text)} for text in shown]
        reports.append({"name": name, **asdict(counts), **counts.rates(), "texts": tokens})
    return reports


def show(report: Mapping[str, Any]) -> None:
    """Print the result of `report_on`: of each text a token a line, and what decoding does not give back."""
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
    headings = ("token", "id", "type", "word", "characters", "special")  # the first four are also keys
    for text in report["texts"]:
        rows = []
        for token in text["tokens"]:
            span = None if token["sequence"] is None else f"{token['start']}–{token['end']}"
            cells = [*map(token.get, headings[:4]), span, "special" if token["special"] else None]
            rows.append(["" if cell is None else str(cell) for cell in cells])
        print_table(table_of(headings, rows, right=headings[1:]), console=console, above=1)
        changes = [f"{was or 'nothing'} → {now or 'nothing'}" for was, now in text["lost"]] or ["nothing"]
        decoded = " | ".join(map(repr, text["decoded"]))
        console.print(f"decoded: {decoded}\nlost: {', '.join(changes)}", markup=False, soft_wrap=True)


def show_comparison(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print the result of `compare`."""
    console = result_console()
    headings = [heading for heading, _ in COLUMNS.values()]
    rows = (
        [report["name"], *(format(report[name], spec) for name, (_, spec) in COLUMNS.items())]
        for report in reports
    )
    print_table(table_of(["tokenizer", *headings], rows, right=headings), console=console)
    first = reports[0]
    console.print(
        f"\n{first['num_texts']:,} texts, {first['num_words']:,} words (a Chinese character is one), "
        "without special tokens",
        soft_wrap=True,
    )
    for texts in zip(*(report["texts"] for report in reports), strict=True):
        for report, text in zip(reports, texts, strict=True):
            line = f"\n{report['name']}: {len(text['tokens'])} tokens\n{'|'.join(text['tokens'])}"
            console.print(line, markup=False, soft_wrap=True)
