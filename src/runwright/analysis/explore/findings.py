"""Tables of an exploration, and findings that need a look with the cure for each; the worst first."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from runwright.analysis.explore.survey import ODDITIES, Exploration, find_noise, firsts, id_columns, quantile
from runwright.errors import listed
from runwright.report.page.document import Cell, Table
from runwright.report.terminal import shorten

MAX_EXAMPLES = 5
MAX_LABELS = 1000  # rows of the table of labels
QUANTILES = {"median": 0.5, "95 %": 0.95, "99 %": 0.99, "longest": 1}
NUMBERS = {"mean": np.mean, "deviation": np.std, "lowest": np.min, "median": np.median, "highest": np.max}
RARE_CLASS = 10  # rows in train
MUCH_CUT = 0.01  # of the rows
MANY_UNKNOWN = 0.001  # of the tokens
MAX_LINE = 400  # characters


class Finding(NamedTuple):
    """One sentence with its hint and examples."""

    level: Literal["problem", "look"]  # a problem spoils metrics or training; a look may be intended
    what: str
    hint: str = ""
    examples: tuple[str, ...] = ()


def percent(count: float, whole: float) -> str:
    """The share of a count, never as 0 for something."""
    share = count / whole if whole else 0.0
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else "under 0.1 %"


def visible(text: str, *, longest: int = MAX_LINE) -> str:
    """One line without characters that a terminal obeys or that hide others."""
    flat = " ".join(text.split())
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in flat[: longest + 1])
    return shorten(shown, longest)


def tables(exploration: Exploration) -> list[Table]:
    """Lengths by split, then classes or numbers, where there are any."""
    surveys, label = exploration.surveys, exploration.columns.label_column
    lengths: list[list[object]] = []
    for split, survey in surveys.items():
        units = {"characters": survey.characters, "words": survey.words}
        if split in exploration.tokens:
            units["tokens"] = exploration.tokens[split].lengths
        for unit, counts in units.items():
            mean = float(counts.mean()) if len(counts) else 0.0
            lengths.append([split, unit, mean, *(quantile(counts, share) for share in QUANTILES.values())])
    numbers = exploration.numbers.items()
    spreads = [[split, *(float(reduce(values)) for reduce in NUMBERS.values())] for split, values in numbers]
    labelled = {split: survey for split, survey in surveys.items() if survey.labels}
    several = bool(labelled) and exploration.columns.label_separator is not None
    classes: list[list[object]] = []
    for name in [*exploration.label_names[:MAX_LABELS], *[""] * bool(several)]:
        row: list[object] = [visible(name) or "(no label)"]
        for survey in labelled.values():  # shares are of rows where these have any number of labels
            whole = survey.num_rows if several else survey.labels.total()
            count = survey.labels[name] if name else whole - int(np.count_nonzero(survey.label_hashes))
            row += [count, Cell(percent(count, whole), count / whole, "number")]
        classes.append(row)
    headings = [heading for split in labelled for heading in (split, f"{split} share")]
    count = len(exploration.label_names)
    shown = f", {MAX_LABELS:,} shown" if count > MAX_LABELS else ""
    made = [
        Table(title="Lengths of the texts", columns=["split", "unit", "mean", *QUANTILES], rows=lengths),
        Table(title=f"{label}, {count:,} classes{shown}", columns=["label", *headings], rows=classes),
        Table(title=f"{label}, numbers", columns=["split", *NUMBERS], rows=spreads),
    ]
    return [table for table in made if table]


def find(exploration: Exploration) -> list[Finding]:
    """All findings, problems first, each for one split."""
    checks = (_overlaps, _noise, _odd, _tokens, _others)
    findings = (finding for check in checks for finding in check(exploration))
    return sorted(findings, key=lambda finding: finding.level != "problem")


def _overlaps(exploration: Exploration) -> Iterator[Finding]:
    for split, other, positions in exploration.overlaps():
        survey, leaks = exploration.surveys[split], other == "train" != split
        if split == other:
            what, hint = "repeat an earlier one of their split", "DropDuplicates keeps the first of them"
        else:
            what = f"are the same as a row of {other}"
            hint = "DropDuplicates with across: true takes them out of train" if leaks else ""
        share = percent(len(positions), survey.num_rows)
        count = f"{len(positions):,} of {survey.num_rows:,} rows of {split} ({share})"
        examples = _texts(exploration, split, positions[firsts(survey.exact[positions])])
        yield Finding("problem" if leaks else "look", f"{count} {what}", hint, examples)


def _texts(exploration: Exploration, split: str, positions: np.ndarray) -> tuple[str, ...]:
    return tuple(exploration.text(split, position) for position in positions[:MAX_EXAMPLES].tolist())


def _noise(exploration: Exploration) -> Iterator[Finding]:
    for split, survey in exploration.surveys.items():
        rows, pairs = find_noise(survey)
        examples = tuple(
            f"{' and '.join(exploration.label(split, position) for position in pair)}: "
            f"{exploration.text(split, pair[0])}"
            for pair in pairs[:MAX_EXAMPLES].tolist()
        )
        if examples:
            count = f"{len(pairs):,} texts of {split} ({len(rows):,} rows)"
            hint = "no model can be right about all of them"
            yield Finding("problem", f"{count} come with different labels", hint, examples)


def _odd(exploration: Exploration) -> Iterator[Finding]:
    for oddity in ODDITIES:
        for split, survey in exploration.surveys.items():
            if (rows := survey.odd.get(oddity.name)) is not None:
                count = f"{len(rows):,} texts of {split} ({percent(len(rows), len(survey.characters))})"
                level = "problem" if oddity.name in {"empty", "garbled"} else "look"
                examples = _texts(exploration, split, rows) if oddity.name != "empty" else ()
                yield Finding(level, f"{count} {oddity.says}", oddity.hint, examples)


def _tokens(exploration: Exploration) -> Iterator[Finding]:
    limit = exploration.columns.max_length
    inputs = "texts" if exploration.columns.separate_texts else "rows"
    for split, tokens in exploration.tokens.items():
        rows_cut = tokens.cut_by(limit)
        if limit is not None and rows_cut > MUCH_CUT:
            hint = f"95 % of the {inputs} have at most {quantile(tokens.lengths, 0.95)} tokens"
            what = f"task.max_length={limit} cuts {rows_cut:.1%} of the {inputs} of {split}"
            yield Finding("look", what, hint)
        num_unknown = tokens.unknown.total()
        if num_unknown > MANY_UNKNOWN * tokens.num_tokens:
            rate = f"{percent(num_unknown, tokens.num_tokens)} of the tokens of {split}"
            pieces = (f"{piece} × {count:,}" for piece, count in tokens.unknown.most_common(5))
            hint, what = "another tokenizer, or ReplacePattern", f"{rate} are unknown to the tokenizer"
            yield Finding("look", what, hint, tuple(pieces))


def _others(exploration: Exploration) -> Iterator[Finding]:
    """Rare classes, and columns that look like ids, of train or of the only split."""
    splits, columns = exploration.data.splits, exploration.columns
    split = "train" if "train" in splits else next(iter(splits))
    counts = exploration.surveys[split].labels if exploration.label_names else {}
    if rare := sorted(name for name, count in counts.items() if count < RARE_CLASS):
        names = listed(map(repr, rare))
        yield Finding("look", f"{len(rare)} of {len(counts)} classes have under {RARE_CLASS} rows: {names}")
    for name in id_columns(splits[split], {*columns.text_columns, columns.label_column}):
        yield Finding("look", f"the column {name} looks like an id", "it tells nothing of a text")
