"""`runwright tokenizer show` and `compare`: one tokenizer and its tokens, several on the same texts."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.report.terminal import print_facts, print_table, result_console, table_of
from runwright.runs.folder import LATEST, resolve_run
from runwright.tokenizer.pretrained import open_saved

STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")  # a Chinese character, or what stands between spaces
COLUMNS = {  # heading and format
    "vocab_size": ("size", ","),
    "vocabulary_used": ("used", ".2%"),
    "tokens_per_word": ("per word", ".2f"),
    "unknown_rate": ("unknown", ".2%"),
    "characters_per_token": ("chars each", ".2f"),
}


def _open(name: str) -> Any:
    """A tokenizer by hub name, folder, package:NAME/folder, or the one of a run: latest, latest:NAME."""
    if name.partition(":")[0] == LATEST:
        name = str(resolve_run(name, needs_model=True) / "best")
    return open_saved(name)


def report_on(name: str, texts: Sequence[str], *, pair: str | None = None) -> dict[str, Any]:
    """Description of a tokenizer, and the tokens of some texts (each with a second one), for JSON."""
    tokenizer = _open(name)
    reports = [{"text": text, **encoded(tokenizer, text, pair)} for text in texts]
    return {"name": name, **describe(tokenizer), "texts": reports}


def compare(names: Sequence[str], texts: Iterable[str], shown: Sequence[str]) -> list[dict[str, Any]]:
    """Statistics of each tokenizer over the texts, and the tokens of those to be shown, for JSON."""
    if not (texts := list(texts)):
        raise ConfigError("runwright tokenizer compare: there is no text to compare on")
    reports = []
    for name, tokenizer in zip(names, map(_open, names), strict=True):
        tokens = [{"text": text, "tokens": tokenizer.tokenize(text)} for text in shown]
        reports.append({"name": name, **measure(tokenizer, texts), "texts": tokens})
    return reports


def measure(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> dict[str, float]:
    """Counts of the tokens that a tokenizer makes of texts, special ones left out, and rates of them."""
    backend, unknown = tokenizer.backend_tokenizer, tokenizer.unk_token_id
    backend.no_truncation()  # with which it may have been saved
    backend.no_padding()
    counts = Counter[Any]()
    for text in texts:
        counts.update(backend.encode(text, add_special_tokens=False).ids)
    num_words = sum(len(WORD.findall(text)) for text in texts)
    num_characters = sum(map(len, texts))
    num_tokens = counts.total()
    return {
        "vocab_size": len(tokenizer),
        "num_texts": len(texts),
        "num_words": num_words,
        "num_characters": num_characters,
        "num_tokens": num_tokens,
        "num_unknown": counts[unknown],
        "num_used": len(counts),
        "vocabulary_used": len(counts) / len(tokenizer),
        "tokens_per_word": num_tokens / max(num_words, 1),
        "unknown_rate": counts[unknown] / max(num_tokens, 1),
        "characters_per_token": num_characters / max(num_tokens, 1),
    }


def encoded(tokenizer: PreTrainedTokenizerFast, text: str, pair: str | None) -> dict[str, Any]:
    """The tokens of an encoding as a model gets it, the texts decoded again, and what they lost by it.

    `sequence` is 0 or 1, `word` counts within it, start and end are characters; special tokens have none.
    `type` is null where models of this tokenizer take no types. `lost` are [what was there, what is now].
    """
    result: Any = tokenizer(text, pair, verbose=False)
    encoding = result.encodings[0]
    types = result.get("token_type_ids") or [None] * len(encoding.ids)
    names = ("token", "id", "type", "sequence", "word", "start", "end", "special")
    columns = (encoding.tokens, encoding.ids, types, encoding.sequence_ids, encoding.word_ids)
    columns += (*zip(*encoding.offsets, strict=True), map(bool, encoding.special_tokens_mask))
    tokens = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    texts = [text] if pair is None else [text, pair]
    ids = [[token["id"] for token in tokens if token["sequence"] == i] for i in range(len(texts))]
    decoded = [str(tokenizer.decode(numbers)) for numbers in ids]
    lost = [change for sides in zip(texts, decoded, strict=True) for change in _differences(*sides)]
    return {"tokens": tokens, "decoded": decoded, "lost": lost}


def _differences(before: str, after: str) -> list[tuple[str, str]]:
    """Words and signs that differ, from left to right, with what is there now; spaces come last."""
    sides = [re.findall(r"\[\w+\]|<[^<>\s]+>|\w+|[^\w\s]", side) for side in (before, after)]
    steps = SequenceMatcher(None, *sides, autojunk=False).get_opcodes()
    changes = [(sides[0][a:b], sides[1][c:d]) for kind, a, b, c, d in steps if kind != "equal"]
    lost = [(" ".join(old), " ".join(new)) for old, new in changes]
    spaces = [re.findall(r"\s+", side) for side in (before, after)]
    return lost if spaces[0] == spaces[1] else [*lost, ("spaces", "others")]


def describe(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Kind, size, special tokens with their ids, and the names of all steps."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    roles = set(map(str, tokenizer.special_tokens_map.values()))
    extra = [token["content"] for token in state["added_tokens"] if token["special"]]
    return {
        "model": state["model"]["type"],
        "vocab_size": len(tokenizer),
        "special_tokens": {
            name: {"token": str(token), "id": tokenizer.convert_tokens_to_ids(str(token))}
            for name, token in tokenizer.special_tokens_map.items()
            if str(token) in tokenizer.get_vocab()
        },
        "extra_special_tokens": [token for token in extra if token not in roles],
        **{name: _steps(state[name]) for name in STEPS},
        "pair": tokenizer.convert_ids_to_tokens(tokenizer("A", "B")["input_ids"]),
        "padding_side": tokenizer.padding_side,
        # transformers writes "not set" as int(1e30)
        "max_length": tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None,
    }


def _steps(state: Any) -> list[str]:
    if state is None:
        return []
    for name in ("normalizers", "pretokenizers", "processors", "decoders"):
        if state.get(name):
            return [step for inner in state[name] for step in _steps(inner)]
    return [state["type"]]


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
    print_facts(lines.items(), console=console)
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
    rows = ([r["name"], *(format(r[name], spec) for name, (_, spec) in COLUMNS.items())] for r in reports)
    print_table(table_of(["tokenizer", *headings], rows, right=headings), console=console)
    first = reports[0]
    counted = f"{first['num_texts']:,} texts, {first['num_words']:,} words (a Chinese character is one)"
    console.print(f"\n{counted}, without special tokens", soft_wrap=True)
    for texts in zip(*(report["texts"] for report in reports), strict=True):
        for report, text in zip(reports, texts, strict=True):
            line = f"\n{report['name']}: {len(text['tokens'])} tokens\n{'|'.join(text['tokens'])}"
            console.print(line, markup=False, soft_wrap=True)
