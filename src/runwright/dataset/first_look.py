"""A first look at the rows of a run: how they were read, classes, repeated rows, and what needs a warning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute
from datasets import Dataset

from runwright.dataset.fingerprint import column_chunks, row_keys
from runwright.dataset.readers.raw import ROW_ID
from runwright.errors import plain
from runwright.types import Splits

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
MOST_ROWS = 1_000_000  # of a split: a hash of each is held in memory
LABELS = 100_000  # rows of a split whose labels are counted
LEAK = 0.5  # of the rows of a split: no accident, but the same file
MOST_CLASSES = 5  # named with their counts
READING = (  # options of readers
    *("delimiter", "separator", "quote", "escape", "comment", "encoding", "header", "field", "unit"),
    "label_from",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitLook:
    """Counts of one split, over its first MOST_ROWS rows."""

    num_rows: int
    num_looked: int
    empty: int  # texts of white space alone
    repeated: int  # rows whose texts an earlier row of the split has
    in_train: int  # rows whose texts a row of train has
    noisy: tuple[int, int]  # texts that come with several labels, and their rows


def look_at(splits: Splits, *, text_columns: Sequence[str], label_column: str | None) -> dict[str, SplitLook]:
    """Count the rows of every split; equal rows are those whose texts are all equal."""
    heads = {name: rows.select(range(min(len(rows), MOST_ROWS))) for name, rows in splits.items()}
    keys = {name: list(row_keys(rows, text_columns)) for name, rows in heads.items()}
    trained = set(keys.get("train", []))
    return {
        name: SplitLook(
            num_rows=len(splits[name]),
            num_looked=len(rows),
            empty=sum(_num_blank(rows, column) for column in text_columns),
            repeated=len(rows) - len(set(keys[name])),
            in_train=0 if name == "train" else sum(key in trained for key in keys[name]),
            noisy=_num_noisy(keys[name], rows, label_column),
        )
        for name, rows in heads.items()
    }


def _num_blank(rows: Dataset, column: str) -> int:
    if getattr(rows.features[column], "dtype", None) not in ("string", "large_string"):
        return 0  # lists of words
    blank = (pc.equal(pc.utf8_trim_whitespace(values), "") for _, values in column_chunks(rows, column))
    return sum(pc.sum(values).as_py() or 0 for values in blank)


def _num_noisy(keys: Sequence[bytes], rows: Dataset, label_column: str | None) -> tuple[int, int]:
    if label_column is None or label_column not in rows.column_names:
        return 0, 0
    labels_of: dict[bytes, set[str]] = {}
    for key, label in zip(keys, rows[label_column][:], strict=True):
        labels_of.setdefault(key, set()).add(repr(label))
    noisy = {key for key, different in labels_of.items() if len(different) > 1}
    return len(noisy), sum(key in noisy for key in keys)


def warnings_of(looks: Mapping[str, SplitLook]) -> list[str]:
    """What may spoil training or metrics, worst first: each once, with the splits that it concerns."""

    def of_splits(counts: Mapping[str, int]) -> str:
        found = [(name, count) for name, count in counts.items() if count]
        return ", ".join(f"{count:,} of {looks[name].num_looked:,} rows of {name}" for name, count in found)

    leaks = {name: look.in_train for name, look in looks.items()}
    same = {name: count for name, count in leaks.items() if count > LEAK * looks[name].num_looked}
    few = {name: count for name, count in leaks.items() if name not in same}
    noisy = {name: look.noisy[1] for name, look in looks.items()}
    num_noisy = sum(look.noisy[0] for look in looks.values())
    empty = {name: look.empty for name, look in looks.items()}
    sentences = {
        "are rows of train too: is it the same file? Metrics of what was trained on say nothing": same,
        "have the same text as a row of train (dataset.cleaning: DropDuplicates with across: true)": few,
        f"are {num_noisy:,} texts that come with different labels": noisy,
        "have an empty text (dataset.cleaning: DropEmpty)": empty,
    }
    return [f"{found} {what}" for what, counts in sentences.items() if (found := of_splits(counts))]


def table(
    splits: Splits, looks: Mapping[str, SplitLook], task: Any, *, cut: Mapping[str, float]
) -> list[str]:
    """Lines of a table with one row for each split; `cut` holds the shares of truncated texts."""
    lines = [("split", "rows", "empty", "repeated", "in train", "cut", "labels")]
    for name, look in looks.items():
        of_train = "" if name == "train" else f"{look.in_train:,}"
        share = f"{cut[name]:.1%}" if name in cut else ""
        counts = (f"{look.num_rows:,}", f"{look.empty:,}", f"{look.repeated:,}", of_train, share)
        lines.append((name, *counts, _classes(splits[name], name, task)))
    kept = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    return [
        "  ".join(
            cell.rjust(width) if 0 < number < len(row) - 1 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in zip(*kept, strict=True)
    ]


def _classes(rows: Dataset, split: str, task: Any) -> str:
    """Classes with their counts."""
    sampled = rows.select(range(0, len(rows), max(1, len(rows) // LABELS)))
    if not (counts := task.label_counts(sampled, split=split)):
        return ""
    of = f" of {len(sampled):,} rows" if len(sampled) < len(rows) else ""
    if len(counts) > MOST_CLASSES:
        return f"{len(counts)} classes, {min(counts):,} to {max(counts):,} each{of}"
    named = zip(task.label_names, counts, strict=True)
    return ", ".join(f"{plain(name)} {count:,}" for name, count in named) + of


def columns_of(rows: Dataset, *, used: Sequence[str], label_column: str | None) -> str:
    """The columns with their types and the form of the labels, then those that are not used."""
    texts = []
    for name in dict.fromkeys([*used, label_column]):
        if name in rows.column_names:
            kind = str(rows.features.arrow_schema.field(name).type).replace("large_", "")
            form = f", {_form(rows[:1000][name])}" if name == label_column else ""
            texts.append(f"{plain(str(name))} ({kind}{form})")
    rest = [plain(name) for name in rows.column_names if name not in (*used, label_column, ROW_ID)]
    return ", ".join(texts) + (f"; not used: {', '.join(rest[:8])}{', …' * (len(rest) > 8)}" if rest else "")


def _form(values: Iterable[Any]) -> str:
    """The form of labels: names, ids, numbers, 0/1 vectors, lists."""
    present = [value for value in values if value is not None and value != ""]
    if all(isinstance(value, list) for value in present):
        widths, members = {len(value) for value in present}, {one for value in present for one in value}
        is_vector = len(widths) == 1 and members <= {0, 1}
        return f"0/1 vectors of {widths.pop()}" if is_vector else "lists"
    if all(isinstance(value, int) for value in present):
        return "ids"
    return "numbers" if all(isinstance(value, float) for value in present) else "names"


def reading_of(node: Any) -> str:
    """How the files of a data set are read, from its configuration: format, separator, encoding."""
    if not isinstance(node, Mapping):
        return ""
    if parts := node.get("parts"):
        return "; ".join(f"{name}: {reading_of(part.get('source'))}" for name, part in parts.items())
    options = [f"{name} {node[name]}".lower() for name in READING if node.get(name) is not None]
    name = str(node.get("_target_", "")).rpartition(".")[2].removeprefix("read_")
    return f"{name} ({', '.join(options)})" if options else name


def describe(
    data: Any, task: Any, looks: Mapping[str, SplitLook], *, source: Any, cut: Mapping[str, float]
) -> list[str]:
    """Lines of a first look at loaded data: how it was read, its columns, what was done to it, its splits.

    `source` is the configuration of its files.
    """
    name, rows = next(iter(data.splits.items()))
    label = task.label_column or getattr(task, "tags_column", getattr(task, "answers_column", None))
    columns = columns_of(rows, used=task.columns, label_column=label)
    lines = [f"read as {reading_of(source)}; {name}: {columns}"]
    return [*lines, *map(plain, data.notes), *table(data.splits, looks, task, cut=cut)]
