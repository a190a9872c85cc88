"""What in a data set needs a look, with what to do about it; the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runwright.analysis.explore.explore import Exploration
from runwright.analysis.explore.oddities import ODDITIES, SCRIPTS
from runwright.analysis.explore.survey import MAX_EXAMPLES, ColumnSurvey, quantile
from runwright.analysis.explore.tables import share

RARE_SCRIPT = 0.01  # of the texts of all splits
NEAR_CONSTANT = 0.99
FEW_ROWS = 20  # of a split: shares of fewer say nothing
RARE_CLASS = 10  # rows in train
DOMINANT_CLASS = 0.9
SHIFT = 0.1  # of the shares of classes between train and another split (total variation)
MUCH_CUT = 0.01  # of the rows
MANY_UNKNOWN = 0.001  # of the tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One of them."""

    level: Literal["problem", "look"]  # a problem spoils figures or training; a look may be as it should be
    what: str
    hint: str = ""
    examples: tuple[str, ...] = ()


def find(exploration: Exploration) -> list[Finding]:
    """Everything that is worth a sentence."""
    found = [
        *_overlaps(exploration),
        *_noise(exploration),
        *_labels(exploration),
        *_odd(exploration),
        *_scripts(exploration),
        *_tokens(exploration),
        *_columns(exploration),
    ]
    return sorted(found, key=lambda finding: finding.level != "problem")


def _overlaps(exploration: Exploration) -> Iterator[Finding]:
    for overlap in exploration.overlaps:
        rows = exploration.surveys[overlap.split].num_rows
        near = "nearly " if overlap.kind == "near" else ""
        step = "DropNearDuplicates" if near else "DropDuplicates"
        is_within = overlap.split == overlap.other
        leaks = overlap.other == "train" and not is_within
        if is_within:
            what, hint = f"{near}repeat an earlier one", f"{step} keeps the first of them"
        else:
            what = f"are {near}the same as a row of {overlap.other}"
            hint = f"{step} with across: true takes them out of train" if leaks else ""
        count = f"{overlap.rows:,} of {rows:,} rows of {overlap.split} ({share(overlap.rows, rows)})"
        yield Finding(
            level="problem" if leaks and not near else "look",
            what=f"{count} {what}",
            hint=hint,
            examples=tuple(exploration.text(overlap.split, position) for position, _ in overlap.examples),
        )


def _noise(exploration: Exploration) -> Iterator[Finding]:
    for noise in exploration.noise:
        examples = [
            f"{exploration.label(noise.split, first)} and {exploration.label(noise.split, other)}: "
            f"{exploration.text(noise.split, first)}"
            for other, first in noise.examples
        ]
        yield Finding(
            level="problem",
            what=(f"{noise.texts:,} texts of {noise.split} ({noise.rows:,} rows) come with different labels"),
            hint="no model can be right about all of them",
            examples=tuple(examples),
        )


def _labels(exploration: Exploration) -> Iterator[Finding]:
    train = exploration.surveys.get("train")
    column = exploration.columns.label_column
    if train is None or column is None:
        return
    if train.unlabelled and exploration.columns.label_separator is None:
        yield Finding(
            level="problem",
            what=f"{train.unlabelled:,} rows of train have no {column}",
            hint="DropEmpty drops them",
        )
    if not exploration.are_classes or not train.labels:
        return
    counts = train.labels
    for name, count in counts.items():
        part = count / counts.total()
        if part >= DOMINANT_CLASS and len(counts) > 1:
            yield Finding(
                level="look",
                what=f"{part:.1%} of the labels of train are {name!r}: always saying so is right that often",
                hint="judge by f1_macro or matthews; task.class_weights=balanced, or SamplePerClass",
            )
    rare = [name for name, count in counts.items() if count < RARE_CLASS]
    if rare and len(counts) > 1:
        shown = ", ".join(map(repr, sorted(rare)[:8])) + (", …" if len(rare) > 8 else "")
        yield Finding(
            level="look", what=f"{len(rare)} of {len(counts)} classes have under {RARE_CLASS} rows: {shown}"
        )
    for split, survey in exploration.surveys.items():
        if split == "train" or not survey.labels:
            continue
        unseen = sorted(survey.labels.keys() - counts.keys())
        if unseen:
            yield Finding(
                level="problem",
                what=f"{split} has {len(unseen)} labels that train lacks: {', '.join(map(repr, unseen[:8]))}",
                hint="MapValues gives them the names of train",
            )
        names, total, total_here = {*counts, *survey.labels}, counts.total(), survey.labels.total()
        shift = sum(abs(counts[name] / total - survey.labels[name] / total_here) for name in names) / 2
        if shift > SHIFT and survey.num_rows >= FEW_ROWS:
            yield Finding(
                level="look",
                what=f"the shares of the classes in {split} differ from train's by {shift:.0%} in all",
                hint="where you hold it out yourself: dataset.stratify_by",
            )


def _odd(exploration: Exploration) -> Iterator[Finding]:
    for oddity in ODDITIES:
        for split, survey in exploration.surveys.items():
            rows = survey.odd.get(oddity.name)
            if rows is not None:
                shown = rows[:MAX_EXAMPLES].tolist() if oddity.name != "empty" else []
                count = f"{len(rows):,} texts of {split} ({share(len(rows), len(survey.characters))})"
                yield Finding(
                    level="problem" if oddity.name in {"empty", "garbled"} else "look",
                    what=f"{count} {oddity.says}",
                    hint=oddity.hint,
                    examples=tuple(exploration.text(split, position) for position in shown),
                )


def _scripts(exploration: Exploration) -> Iterator[Finding]:
    surveys = exploration.surveys
    total = sum(survey.num_rows for survey in surveys.values())
    for number, name in sorted(enumerate(SCRIPTS), key=lambda item: item[1]):
        rows = {split: np.flatnonzero(survey.scripts == number) for split, survey in surveys.items()}
        count = sum(map(len, rows.values()))
        if name == "none":
            count -= sum(len(survey.odd.get("empty", ())) for survey in surveys.values())
            what, hint = f"{count:,} texts have no letters at all", ""
        elif count < RARE_SCRIPT * total:
            what = f"{count:,} texts of {total:,} are written in {name} letters, unlike the others"
            hint = "another language?"
        else:
            continue
        if count > 0:
            shown = [(split, row) for split, each in rows.items() for row in each[:MAX_EXAMPLES].tolist()]
            examples = [text for split, row in shown if (text := exploration.text(split, row)).strip()]
            yield Finding(level="look", what=what, hint=hint, examples=tuple(examples[:MAX_EXAMPLES]))


def _tokens(exploration: Exploration) -> Iterator[Finding]:
    limit = exploration.max_length if exploration.limits else None
    inputs = "texts" if exploration.columns.each_text else "rows"
    for split, tokens in exploration.tokens.items():
        rows_cut, tokens_lost = tokens.cut_by(limit) if limit is not None else (0.0, 0.0)
        if rows_cut > MUCH_CUT:
            yield Finding(
                level="look",
                what=(
                    f"task.max_length={limit} cuts {rows_cut:.1%} of the {inputs} of {split} and "
                    f"{tokens_lost:.1%} of its tokens"
                ),
                hint=f"95 % of the {inputs} have at most {quantile(tokens.lengths, 0.95)} tokens",
            )
        if tokens.num_unknown > MANY_UNKNOWN * tokens.num_tokens:
            unknown = share(tokens.num_unknown, tokens.num_tokens)
            yield Finding(
                level="look",
                what=f"{unknown} of the tokens of {split} are unknown to the tokenizer",
                hint="another tokenizer, or NormalizeUnicode with NFKC",
                examples=tuple(f"{piece} ({count:,} times)" for piece, count in tokens.unknown[:5]),
            )


def _columns(exploration: Exploration) -> Iterator[Finding]:
    for split, survey in exploration.surveys.items():
        for name, column in survey.columns.items():
            is_read = name in (*exploration.columns.text_columns, exploration.columns.label_column)
            if column.nulls and is_read and split == "train":
                yield Finding(
                    level="problem",
                    what=f"{column.nulls:,} of {column.num:,} values of {name} in {split} are null",
                    hint="DropEmpty drops such rows",
                )
            top = most_frequent(column)
            if top is not None and top[1] >= NEAR_CONSTANT * column.num and column.num >= FEW_ROWS:
                what = (
                    f"the column {name} of {split} is {top[0]!r} in {share(top[1], column.num)} of the rows"
                )
                yield Finding(level="look", what=what)


def most_frequent(column: ColumnSurvey) -> tuple[str, int] | None:
    """The most frequent value, null among them."""
    values = [*column.common[:1], *([("null", column.nulls)] if column.nulls else [])]
    return max(values, key=lambda item: item[1], default=None)
