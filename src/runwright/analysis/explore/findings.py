"""Tables of an exploration, and findings that need a look with the cure for each; the worst first."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from unicodedata import normalize

import numpy as np

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.survey import MAX_EXAMPLES, ODDITIES, quantile
from runwright.errors import listed
from runwright.task.labels import doubtful_names

MAX_LABELS = 1000  # rows of the table of labels
NUMBERS = ("mean", "deviation", "lowest", "median", "highest")
REDUCERS: Any = dict(zip(NUMBERS, (np.mean, np.std, np.min, np.median, np.max), strict=True))
DETAILS = ("columns", "values", "odd")  # tables that are on the page alone


class Share(float):
    """A share of a whole: sorted as a number, shown in percent, never as 0 for something."""

    def __str__(self) -> str:
        return f"{100 * self:.1f} %" if self >= 0.001 or not self else "under 0.1 %"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows by column: text, numbers, shares or None."""

    name: str
    title: str
    rows: list[dict[str, Any]]  # all with the same columns
    is_summary: bool  # printed on the terminal too


def share(count: float, whole: float) -> Share:
    """The share of a count; 0 of nothing is 0."""
    return Share(count / whole if whole else 0.0)


def tables(exploration: Exploration) -> list[Table]:
    """The tables that have rows; first those of the summary."""
    surveys, label = exploration.surveys, exploration.columns.label_column
    names, rows = label_names(exploration), defaultdict[str, list[dict[str, Any]]](list)
    for split in surveys:
        for name, row in _rows_of(exploration, split):
            rows[name].append({"split": split, **row})
    for oddity in ODDITIES:
        counts = {split: len(survey.odd.get(oddity.name, ())) for split, survey in surveys.items()}
        rows["odd"] += [{"text": oddity.name, **counts}] * any(counts.values())
    for limit in exploration.limits:
        rows["truncation"].append(row := {"max_length": limit})
        for split, tokens in exploration.tokens.items():
            row[f"{split} rows"], row[f"{split} tokens"] = map(Share, tokens.cut_by(limit))
    for name in names[:MAX_LABELS]:
        rows["labels"].append(row := {"label": name})
        for split, labels in ((split, survey.labels) for split, survey in surveys.items() if survey.labels):
            row[split], row[f"{split} share"] = labels[name], share(labels[name], labels.total())
    shown = f", {MAX_LABELS:,} shown" if len(names) > MAX_LABELS else ""
    titles = {
        "splits": "Splits",
        "lengths": "Lengths of the texts",
        "truncation": "What max_length cuts",
        "tokens": f"Tokens of {exploration.tokenizer_name}",
        "labels": f"{label}, {len(names):,} classes{shown}",
        "numbers": f"{label}, numbers",
        "columns": "Columns",
        "values": "Most frequent values",
        "odd": "Odd texts",
    }
    return [
        Table(name=name, title=title, rows=rows[name], is_summary=name not in DETAILS)
        for name, title in titles.items()
        if rows[name]
    ]


def label_names(exploration: Exploration) -> list[str]:
    """The classes, the most frequent of the first split first; none where labels are numbers."""
    if not exploration.are_classes:
        return []
    first, *others = (survey.labels for survey in exploration.surveys.values() if survey.labels)
    return [
        *sorted(first, key=lambda name: (-first[name], name)),
        *sorted({name for labels in others for name in labels} - first.keys()),
    ]


def _rows_of(exploration: Exploration, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows about one split, each with the name of its table."""
    survey, tokens = exploration.surveys[split], exploration.tokens.get(split)
    repeated = {one.kind: one.rows for one in exploration.overlaps if one.split == one.other == split}
    rows = {"rows": survey.num_rows, "equal to earlier": repeated.get("exact", 0)}
    yield "splits", rows | {"nearly equal": repeated.get("near", 0), "without label": survey.unlabelled}
    units = {"characters": survey.characters, "words": survey.words}
    for unit, lengths in (units | ({"tokens": tokens.lengths} if tokens else {})).items():
        shares = {"median": 0.5, "95 %": 0.95, "99 %": 0.99, "longest": 1}
        quantiles = {name: quantile(lengths, value) for name, value in shares.items()}
        yield "lengths", {"unit": unit, "mean": float(lengths.mean()) if len(lengths) else 0.0, **quantiles}
    if tokens:
        rates = tokens.counts.rates()
        yield (
            "tokens",
            {
                "rows read": tokens.num_rows,
                "tokens a word": rates["tokens_per_word"],
                "characters a token": rates["characters_per_token"],
                "unknown": Share(rates["unknown_rate"]),
                "tokens used": tokens.counts.num_used,
                "vocabulary": tokens.counts.vocab_size,
            },
        )
    if len(values := exploration.numbers.get(split, np.empty(0))):
        yield "numbers", {name: float(reduce(values)) for name, reduce in REDUCERS.items()}
    for name, column in survey.columns.items():
        counts = {"column": name, "type": column.kind, "null": column.nulls, "different": column.distinct}
        numbers = column.numbers if len(column.numbers) else [np.nan]
        reduced = ((kind, float(REDUCERS[kind](numbers))) for kind in ("lowest", "mean", "highest"))
        yield "columns", counts | {kind: None if np.isnan(number) else number for kind, number in reduced}
        for value, count in column.common:
            yield "values", {"column": name, "value": value, "rows": count}


FEW_ROWS = 20  # of a split: shares of fewer say nothing
RARE_CLASS = 10  # rows in train
DOMINANT_CLASS = 0.9
SHIFT = 0.1  # of the shares of classes between train and another split (total variation)
MUCH_CUT = 0.01  # of the rows
MANY_UNKNOWN = 0.001  # of the tokens


class Finding(NamedTuple):
    """One sentence with its hint and examples."""

    level: Literal["problem", "look"]  # a problem spoils metrics or training; a look may be intended
    what: str
    hint: str = ""
    examples: tuple[str, ...] = ()
    where: str = ""  # rows of a split: those of all splits stand together in place of PLACE


PLACE = "\0"


def find(exploration: Exploration) -> list[Finding]:
    """All findings, problems first, each once for all splits that it concerns."""
    checks = (_overlaps, _noise, _labels, _shifts, _odd, _tokens, _columns)
    together: dict[tuple[str, str], list[Finding]] = {}
    for finding in (finding for check in checks for finding in check(exploration)):
        together.setdefault((finding.level, finding.what), []).append(finding)
    findings = []
    for (_, what), alike in together.items():
        places = ", ".join(finding.where for finding in alike)
        examples = tuple(example for finding in alike for example in finding.examples)[:MAX_EXAMPLES]
        findings.append(alike[0]._replace(what=what.replace(PLACE, places), examples=examples))
    return sorted(findings, key=lambda finding: finding.level != "problem")


def _overlaps(exploration: Exploration) -> Iterator[Finding]:
    for overlap in exploration.overlaps:
        split, other, rows = overlap.split, overlap.other, exploration.surveys[overlap.split].num_rows
        near = "nearly " if overlap.kind == "near" else ""
        step = "DropNearDuplicates" if near else "DropDuplicates"
        leaks = other == "train" != split
        if split == other:
            what, hint = f"{near}repeat an earlier one of their split", f"{step} keeps the first of them"
        else:
            what = f"are {near}the same as a row of {other}"
            hint = f"{step} with across: true takes them out of train" if leaks else ""
        count = f"{overlap.rows:,} of {rows:,} rows of {split} ({share(overlap.rows, rows)})"
        examples = tuple(exploration.text(split, position) for position, _ in overlap.examples)
        level = "problem" if leaks and not near else "look"
        yield Finding(level, f"{PLACE} {what}", hint, examples, count)


def _noise(exploration: Exploration) -> Iterator[Finding]:
    for noise in exploration.noise:
        examples = [
            f"{exploration.label(noise.split, first)} and {exploration.label(noise.split, other)}: "
            f"{exploration.text(noise.split, first)}"
            for other, first in noise.examples
        ]
        count = f"{noise.texts:,} texts of {noise.split} ({noise.rows:,} rows)"
        hint = "no model can be right about all of them"
        yield Finding("problem", f"{PLACE} come with different labels", hint, tuple(examples), count)


def _labels(exploration: Exploration) -> Iterator[Finding]:
    train, column = exploration.surveys.get("train"), exploration.columns.label_column
    if train is None or column is None:
        return
    if train.unlabelled and exploration.columns.label_separator is None:
        what = f"{train.unlabelled:,} rows of train have no {column}"
        yield Finding("problem", what, "DropEmpty drops them")
    counts = train.labels
    if not exploration.are_classes or len(counts) < 2:
        return
    problem = "multi_label" if exploration.columns.label_separator else "single_label"
    yield from (Finding("look", note) for note in doubtful_names(sorted(counts), problem))
    ((name, count),) = counts.most_common(1)
    if count >= DOMINANT_CLASS * counts.total():
        rate = f"{count / counts.total():.1%}"
        what = f"{rate} of the labels of train are {name!r}: always saying so is right that often"
        yield Finding("look", what, "judge by f1_macro or matthews; task.class_weights=balanced")
    if rare := sorted(name for name, count in counts.items() if count < RARE_CLASS):
        names = listed(map(repr, rare))
        yield Finding("look", f"{len(rare)} of {len(counts)} classes have under {RARE_CLASS} rows: {names}")


def _shifts(exploration: Exploration) -> Iterator[Finding]:
    """Classes of other splits that are not those of train, or not in the same proportions."""
    counts = exploration.surveys["train"].labels if "train" in exploration.surveys else None
    if not exploration.are_classes or not counts:
        return
    for split, survey in exploration.surveys.items():
        if split == "train" or not survey.labels:
            continue
        if unseen := sorted(survey.labels.keys() - counts.keys()):
            what = f"{split} has {len(unseen)} labels that train lacks: {listed(map(repr, unseen))}"
            yield Finding("problem", what, "MapValues gives them the names of train")
        total, own_total = counts.total(), survey.labels.total()
        names = {*counts, *survey.labels}
        shift = sum(abs(counts[name] / total - survey.labels[name] / own_total) for name in names) / 2
        if shift > SHIFT and survey.num_rows >= FEW_ROWS:
            what = f"the shares of the classes in {split} differ from train's by {shift:.0%} in all"
            yield Finding("look", what, "where you hold it out yourself: dataset.stratify_by")


def _odd(exploration: Exploration) -> Iterator[Finding]:
    for oddity in ODDITIES:
        for split, survey in exploration.surveys.items():
            rows = survey.odd.get(oddity.name)
            if rows is not None:
                shown = rows[:MAX_EXAMPLES].tolist() if oddity.name != "empty" else []
                count = f"{len(rows):,} texts of {split} ({share(len(rows), len(survey.characters))})"
                level = "problem" if oddity.name in {"empty", "garbled"} else "look"
                examples = tuple(exploration.text(split, position) for position in shown)
                yield Finding(level, f"{PLACE} {oddity.says}", oddity.hint, examples, count)


def _tokens(exploration: Exploration) -> Iterator[Finding]:
    limit = exploration.max_length if exploration.limits else None
    inputs = "texts" if exploration.columns.separate_texts else "rows"
    for split, tokens in exploration.tokens.items():
        rows_cut, tokens_lost = tokens.cut_by(limit) if limit is not None else (0.0, 0.0)
        if rows_cut > MUCH_CUT:
            lost = f"{rows_cut:.1%} of the {inputs} of {split} and {tokens_lost:.1%} of its tokens"
            hint = f"95 % of the {inputs} have at most {quantile(tokens.lengths, 0.95)} tokens"
            yield Finding("look", f"task.max_length={limit} cuts {PLACE}", hint, where=lost)
        num_unknown, num_tokens = tokens.counts.num_unknown, tokens.counts.num_tokens
        if num_unknown > MANY_UNKNOWN * num_tokens:
            rate = f"{share(num_unknown, num_tokens)} of the tokens of {split}"
            changed = [n for piece, n in tokens.unknown.items() if normalize("NFKC", piece) != piece]
            step = "NormalizeUnicode with NFKC" if sum(changed) > num_unknown / 2 else "ReplacePattern"
            hint, what = f"another tokenizer, or {step}", f"{PLACE} are unknown to the tokenizer"
            pieces = (f"{piece} ({count:,} times)" for piece, count in tokens.unknown.most_common(5))
            yield Finding("look", what, hint, tuple(pieces), rate)


def _columns(exploration: Exploration) -> Iterator[Finding]:
    used = (*exploration.columns.text_columns, exploration.columns.label_column)
    for split, survey in exploration.surveys.items():
        for name, column in survey.columns.items():
            if column.nulls and name in used and split == "train":
                what = f"{column.nulls:,} of {column.num:,} values of {name} in {split} are null"
                yield Finding("problem", what, "DropEmpty drops such rows")
            is_named = re.search(r"(?i)(^|[_ ])(id|uuid|guid|index)$|^Unnamed: 0$", name) is not None
            is_word = "string" in column.kind and not any(" " in value for value, _ in column.common)
            is_key = column.distinct == column.num >= FEW_ROWS and ("int" in column.kind or is_word)
            if name not in used and (is_named or is_key):
                what = f"the column {name} looks like an id: {PLACE}"
                count = f"{column.distinct:,} values in {column.num:,} rows of {split}"
                hint = f"it tells nothing of a text: DropColumns, or dataset.holdout_by={name}"
                yield Finding("look", what, hint, where=count)
