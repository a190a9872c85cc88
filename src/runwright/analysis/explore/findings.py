"""What in a data set needs a look, with what to do about it; the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runwright.analysis.explore.explore import Exploration, shares_of
from runwright.analysis.explore.oddities import ODDITIES
from runwright.analysis.explore.survey import ColumnSurvey

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
        *_leaks(exploration),
        *_noise(exploration),
        *_labels(exploration),
        *_odd(exploration),
        *_scripts(exploration),
        *_duplicates(exploration),
        *_tokens(exploration),
        *_columns(exploration),
    ]
    return sorted(found, key=lambda finding: finding.level != "problem")


def share(part: float, whole: float) -> str:
    """A share in percent, never 0 for something."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if percent >= 0.1 or not part else "under 0.1 %"


def _about(number: int, *, is_exact: bool) -> str:
    return f"{number:,}" if is_exact else f"about {number:,}"


def _leaks(exploration: Exploration) -> Iterator[Finding]:
    for overlap in exploration.overlaps:
        if overlap.split == overlap.other:
            continue
        rows = exploration.surveys[overlap.split].num_rows
        near, leaks = overlap.kind == "near", overlap.other == "train"
        yield Finding(
            level="problem" if leaks and not near else "look",
            what=(
                f"{_about(overlap.rows, is_exact=overlap.is_exact)} of {rows:,} rows of {overlap.split} "
                f"({share(overlap.rows, rows)}) are {'nearly ' if near else ''}the same as a row of "
                f"{overlap.other}"
            ),
            hint=f"{_step(near=near)} with across: true takes them out of train" if leaks else "",
            examples=tuple(exploration.text(overlap.split, mine) for mine, _ in overlap.examples),
        )


def _duplicates(exploration: Exploration) -> Iterator[Finding]:
    for overlap in exploration.overlaps:
        if overlap.split != overlap.other:
            continue
        rows = exploration.surveys[overlap.split].num_rows
        near = overlap.kind == "near"
        yield Finding(
            level="look",
            what=(
                f"{_about(overlap.rows, is_exact=overlap.is_exact)} of {rows:,} rows of {overlap.split} "
                f"({share(overlap.rows, rows)}) repeat an earlier one{' nearly' if near else ''}"
            ),
            hint=f"{_step(near=near)} keeps the first of them",
            examples=tuple(exploration.text(overlap.split, mine) for mine, _ in overlap.examples),
        )


def _step(*, near: bool) -> str:
    return "DropNearDuplicates" if near else "DropDuplicates"


def _noise(exploration: Exploration) -> Iterator[Finding]:
    for noise in exploration.noise:
        examples = [
            f"{exploration.label(noise.split, one)} and {exploration.label(noise.split, other)}: "
            f"{exploration.text(noise.split, one)}"
            for one, other in noise.examples
        ]
        yield Finding(
            level="problem",
            what=(
                f"{_about(noise.texts, is_exact=noise.is_exact)} texts of {noise.split} "
                f"({_about(noise.rows, is_exact=noise.is_exact)} rows) come with different labels"
            ),
            hint="no model can be right about all of them",
            examples=tuple(examples),
        )


def _labels(exploration: Exploration) -> Iterator[Finding]:
    train = exploration.surveys.get("train")
    column = exploration.chosen.label_column
    if train is None or column is None:
        return
    if train.unlabelled and exploration.chosen.label_separator is None:
        yield Finding(
            level="problem",
            what=f"{train.unlabelled:,} rows of train have no {column}",
            hint="DropEmpty drops them",
        )
    if not exploration.are_classes or train.labels.error:
        return
    counts = train.labels.counts
    shares = shares_of(counts)
    for name, part in shares.items():
        if part >= DOMINANT_CLASS and len(shares) > 1:
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
        if split == "train" or not survey.labels.counts:
            continue
        unseen = sorted(survey.labels.counts.keys() - counts.keys())
        if unseen:
            yield Finding(
                level="problem",
                what=f"{split} has {len(unseen)} labels that train lacks: {', '.join(map(repr, unseen[:8]))}",
                hint="MapValues gives them the names of train",
            )
        other = shares_of(survey.labels.counts)
        shift = sum(abs(shares.get(name, 0) - other.get(name, 0)) for name in {*shares, *other}) / 2
        if shift > SHIFT and survey.num_rows >= FEW_ROWS:
            yield Finding(
                level="look",
                what=f"the shares of the classes in {split} differ from train's by {shift:.0%} in all",
                hint="where you hold it out yourself: dataset.stratify_by",
            )


def _odd(exploration: Exploration) -> Iterator[Finding]:
    for oddity in ODDITIES:
        for split, survey in exploration.surveys.items():
            count = survey.odd[oddity.name]
            if count:
                positions = survey.odd_examples[oddity.name] if oddity.name != "empty" else []
                yield Finding(
                    level="problem" if oddity.name in {"empty", "garbled"} else "look",
                    what=f"{count:,} texts of {split} ({share(count, survey.characters.num)}) {oddity.says}",
                    hint=oddity.hint,
                    examples=tuple(exploration.text(split, position) for position in positions),
                )


def _scripts(exploration: Exploration) -> Iterator[Finding]:
    total = sum(survey.num_rows for survey in exploration.surveys.values())
    names = sorted({name for survey in exploration.surveys.values() for name in survey.scripts})
    for name in names:
        count = sum(survey.scripts[name] for survey in exploration.surveys.values())
        examples = [
            exploration.text(split, position)
            for split, survey in exploration.surveys.items()
            for position in survey.script_examples.get(name, [])
        ]
        if name == "none":
            empty = sum(survey.odd["empty"] for survey in exploration.surveys.values())
            if count > empty:
                shown = [text for text in examples if text.strip()][:5]
                what = f"{count - empty:,} texts have no letters at all"
                yield Finding(level="look", what=what, examples=tuple(shown))
        elif total and count / total < RARE_SCRIPT:
            yield Finding(
                level="look",
                what=f"{count:,} texts of {total:,} are written in {name} letters, unlike the others",
                hint="another language?",
                examples=tuple(examples[:5]),
            )


def _tokens(exploration: Exploration) -> Iterator[Finding]:
    limit = exploration.max_length if exploration.limits else None
    inputs = "texts" if exploration.chosen.each_text else "rows"
    for split, tokens in exploration.tokens.items():
        if limit is not None and tokens.lengths.share_over(limit) > MUCH_CUT and limit < 8192:
            yield Finding(
                level="look",
                what=(
                    f"task.max_length={limit} cuts {tokens.lengths.share_over(limit):.1%} of the {inputs} of "
                    f"{split} and {tokens.lengths.share_lost(limit):.1%} of its tokens"
                ),
                hint=f"95 % of the {inputs} have at most {tokens.lengths.quantile(0.95)} tokens",
            )
        if tokens.num_unknown > MANY_UNKNOWN * tokens.num_tokens:
            yield Finding(
                level="look",
                what=(
                    f"{share(tokens.num_unknown, tokens.num_tokens)} of the tokens of {split} are unknown to "
                    f"the tokenizer"
                ),
                hint="another tokenizer, or NormalizeUnicode with NFKC",
                examples=tuple(f"{piece} ({count:,} times)" for piece, count in tokens.unknown[:5]),
            )


def _columns(exploration: Exploration) -> Iterator[Finding]:
    for split, survey in exploration.surveys.items():
        for name, column in survey.columns.items():
            is_read = name in (*exploration.chosen.text_columns, exploration.chosen.label_column)
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
    common = column.frequent.most_common(1)
    if common and common[0][1] + column.frequent.error >= column.nulls:
        return common[0][0], common[0][1]
    return ("null", column.nulls) if column.nulls else None
