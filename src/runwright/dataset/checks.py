"""Checks of rows before weights are loaded: errors that name file and line, and a first look at them all."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.fingerprint import column_chunks, kept_array, row_hashes
from runwright.dataset.readers.addresses import missing_shards
from runwright.dataset.readers.raw import ROW_ID, files_of, left_out_of, locate
from runwright.dataset.readers.text_rows import other_dialect
from runwright.errors import DataError, did_you_mean, listed, plain
from runwright.types import Splits

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

MOST_ROWS = 1_000_000  # of a split are looked at: a hash of each is held in memory
LABELS = 100_000  # rows of a split whose labels are counted
LEAK = 0.5  # of the rows of a split: no accident, but the same file
MOST_CLASSES = 5  # named with their counts
READING = ("delimiter", "separator", "quote", "escape", "encoding", "header", "field", "unit", "label_from")

Kind = Literal["text", "any"]


def require_columns(
    splits: Splits,
    columns: Mapping[str, Kind],
    *,
    whole: bool = True,
    options: Mapping[str, str] | None = None,
) -> None:
    """Raise DataError unless every split has rows and these columns, without nulls.

    `options` name the columns. One of kind "text" must hold strings, in `whole` splits not all of them blank.
    """
    for split, rows in splits.items():
        if not len(rows):
            raise DataError("the split has no rows", split=split)
        for column, kind in columns.items():
            if column not in rows.column_names:
                raise missing_column(column, rows, split=split, option=(options or {}).get(column, ""))
            blank = [
                _check_values(rows, start, values, split=split, column=column, kind=kind)
                for start, values in column_chunks(rows, column)
            ]
            if kind == "text" and whole and all(blank):
                file = locate(rows, 0).file
                raise DataError("every text is empty", file=file, split=split, column=column)


def _check_values(rows: Dataset, start: int, values: Any, *, split: str, column: str, kind: Kind) -> bool:
    """Return True if all values are blank texts; raises DataError for a value that cannot be used."""
    if values.null_count:
        problem = "the value is missing (null); fill it in, or drop such rows with a cleaning step"
        position = start + pc.index(pc.is_null(values), value=True).as_py()
        raise row_error(problem, rows, position, split=split, column=column)
    if kind != "text":
        return False
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        shown = getattr(rows.features[column], "dtype", rows.features[column])
        problem = f"expected text, found {shown} (first value {values[0].as_py()!r:.80}); choose another "
        problem += "column, or read it as text (csv: column_types; pandas: "
        problem += "to_json(orient='records', lines=True))"
        raise DataError(problem, file=locate(rows, 0).file, split=split, column=column)
    return bool(pc.all(is_blank(values)).as_py())


def is_blank(values: Any) -> Any:
    """True where an Arrow array of texts has white space alone or nothing."""
    return pc.equal(pc.utf8_trim_whitespace(values), "")


def missing_column(column: str, rows: Dataset, *, split: str, option: str = "") -> DataError:
    """The error for a missing column, with the nearest name and all names there are."""
    if error := left_out_of(rows).get(column):
        return error
    names = [name for name in rows.flatten().column_names if name != ROW_ID]
    hint = did_you_mean(column, names)
    if inside := [name for name in names if name.endswith(f".{column}")]:
        hint = f"set ++dataset.columns.{column}={inside[0]}"
    for name, kind in rows.features.items() if len(rows) == 1 else ():
        if isinstance(getattr(kind, "feature", None), dict):
            hint = f"set dataset.source.field={name}"
    if not hint and any(len(name.split()) > 3 for name in names):
        hint = "where the first line of csv is a row, set dataset.source.header=false"
    hint = (names and other_dialect(names)) or hint or (option and f"{option} names it")
    problem = f"no such column; columns: {', '.join(map(repr, names))}" + (f"; {hint}" if hint else "")
    return DataError(problem, file=locate(rows, 0).file, split=split, column=column)


def has_column(rows: Any, column: str, *, split: str, option: str) -> bool:
    """Return True for rows (a Dataset, lists by name) with this column; DataError where train lacks it."""
    names = getattr(rows, "column_names", rows)
    if split == "train" and column not in names:
        raise missing_column(column, rows, split=split, option=option)
    return column in names


def row_error(problem: str, rows: Dataset, position: int, *, split: str, column: str | None) -> DataError:
    """An error about the row at a position, with its file, row and line."""
    row = rows[position]
    where = locate(rows, row.get(ROW_ID, position))
    if "id" in row:  # people search nested files for it
        problem = f"{problem} (id {row['id']!r})"
    return DataError(problem, split=split, column=column, **where._asdict())


@contextmanager
def naming_rows(splits: Splits, *, row_ids: Sequence[int] | None = None) -> Iterator[None]:
    """Add file and line to a DataError about a row that is raised inside; about a split, its only file.

    A task names a row by its position among those given: of a split, or with these ids of the only one.
    """
    try:
        yield
    except DataError as error:
        split = error.split if error.split in splits else next(iter(splits))
        if error.file is not None or (split != error.split and len(splits) > 1):
            raise
        rows = splits[split]
        if error.row is not None and row_ids is None:
            raise row_error(error.problem, rows, error.row, split=split, column=error.column) from error
        files = files_of(rows)  # about a whole split: its file, where there is only one
        where: dict[str, Any] = {"file": files[0] if len(files) == 1 else None}
        if error.row is not None and row_ids is not None:
            where = locate(rows, int(row_ids[error.row]))._asdict()
        raise DataError(error.problem, split=split, column=error.column, **where) from error


def special_token_note(rows: Dataset, columns: Sequence[str], tokens: Sequence[str]) -> str | None:
    """A sentence on texts that hold special tokens of the tokenizer, which takes them for these."""

    def count() -> np.ndarray:
        counts = np.zeros(len(tokens), np.int64)
        for _, values in (chunk for column in columns for chunk in column_chunks(rows, column)):
            texts = values.flatten() if pa.types.is_list(values.type) else values
            if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
                counts += [pc.sum(pc.match_substring(texts, token)).as_py() or 0 for token in tokens]
        return counts

    counts = kept_array(["special tokens", rows._fingerprint, columns, tokens], len(rows), count).tolist()
    named = ", ".join(f"{token} in {n:,}" for token, n in zip(tokens, counts, strict=True) if n)
    return f"special tokens of the tokenizer stand in texts and count as such: {named}" if named else None


# --- a first look -----------------------------------------------------------------------------------------


class SplitLook(NamedTuple):
    """Counts of one split, over at most its first MOST_ROWS rows."""

    num_rows: int
    empty: int = 0  # texts of white space alone
    repeated: int = 0  # rows whose texts an earlier row of the split has
    in_train: int = 0  # rows whose texts a row of train has


def look_at(splits: Splits, *, text_columns: Sequence[str]) -> dict[str, SplitLook]:
    """Count the rows of every split; equal rows are those whose texts are all equal."""
    heads = {name: rows.select(range(min(len(rows), MOST_ROWS))) for name, rows in splits.items()}
    hashes = {name: row_hashes(rows, text_columns) for name, rows in heads.items()}
    trained, looks = hashes.get("train", np.empty(0, np.uint64)), {}
    for name, rows in heads.items():
        kinds = {column: getattr(rows.features[column], "dtype", "") for column in text_columns}
        texts = [column for column, kind in kinds.items() if kind in ("string", "large_string")]
        chunks = (values for column in texts for _, values in column_chunks(rows, column))
        looks[name] = SplitLook(
            num_rows=len(rows),
            empty=sum(pc.sum(is_blank(chunk)).as_py() or 0 for chunk in chunks),
            repeated=len(rows) - len(np.unique(hashes[name])),
            in_train=0 if name == "train" else int(np.isin(hashes[name], trained).sum()),
        )
    return looks


def warnings_of(looks: Mapping[str, SplitLook], task: Any = None) -> list[str]:
    """Warnings of what may spoil training or metrics, worst first, each once with the splits it concerns.

    Where the task joins rows, some that are empty or repeated are usual, as lines of a file of text are.
    """

    def of_splits(counts: Mapping[str, int]) -> str:
        shares = {name: f"{count:,} of {looks[name].num_rows:,}" for name, count in counts.items() if count}
        return ", ".join(f"{share} rows of {name}" for name, share in shares.items())

    empty = {name: look.empty for name, look in looks.items()}
    leaks = {name: look.in_train for name, look in looks.items()}
    same = {name: count for name, count in leaks.items() if count > LEAK * looks[name].num_rows}
    few = {name: count for name, count in leaks.items() if name not in same}
    whole = "are rows of train too: the same file, or repeated texts (DropDuplicates)? Metrics say nothing"
    repeated = "have the same text as a row of train (dataset.cleaning: DropDuplicates with across: true)"
    blank = "have an empty text (dataset.cleaning: DropEmpty)"
    sentences = {whole: same}
    if not getattr(task, "join_rows", False):
        sentences |= {repeated: few, blank: empty}
    return [f"{of_splits(counts)} {text}" for text, counts in sentences.items() if any(counts.values())]


def file_warnings(sources: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> Iterator[str]:
    """Warnings of splits with files of several, by `names` and other ones for each, or not with all."""
    either = re.compile(rf"(?<![^/_-])({'|'.join([*names, *names.values()])})(?=[/.]|[-_]\d|$)")
    for split, files in sources.items():
        yield from (f"{split}: {problem}" for problem in missing_shards(files))
        first, start = dict[str, str](), len(os.path.commonprefix(files).rpartition("/")[0])  # noqa: RUF071
        for file in files:
            if match := either.search(file.lower(), start):
                first.setdefault(names.get(match[1], match[1]), file)
        if split in first and (others := [file for name, file in first.items() if name != split]):
            yield f"{split} is read from {listed(others)} beside {first[split]}: are these other splits?"


def describe(
    data: Any, task: Any, looks: Mapping[str, SplitLook], *, source: Any, cut: Mapping[str, float]
) -> Iterator[str]:
    """Lines of a first look at loaded data: how it was read, its columns, what was done to it, its splits.

    `source` is the configuration of its files; `cut` holds shares of truncated inputs by split.
    """
    name, rows = next(iter((data.splits or {"train": data.stream.head()}).items()))
    label = task.label_column or getattr(task, "tags_column", getattr(task, "answers_column", None))
    labels = getattr(task, "label_columns", (label,))
    used, forms = [*task.columns_in(rows.column_names), *labels], () if task.generates else labels
    yield f"read as {reading_of(source)}; {name}: {columns_of(rows, used=used, label_columns=forms)}"
    yield from map(plain, data.notes)
    lines = [["split", "rows", "empty", "repeated", "in train", "cut", "labels"]]
    for name, look in looks.items():
        size = len(data.splits[name])
        rows = f"{size:,} ({look.num_rows:,} looked at)" if look.num_rows < size else f"{size:,}"
        numbers = [f"{look.empty:,}", f"{look.repeated:,}", f"{look.in_train:,}" if name != "train" else ""]
        share = f"{cut[name]:.1%}" if name in cut else ""
        lines.append([name, rows, *numbers, share, _classes(data.splits[name], name, task)])
    filled = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in filled]
    for cells in zip(*filled, strict=True):
        yield "  ".join(map(str.ljust, cells, widths)).rstrip()


def _classes(rows: Dataset, split: str, task: Any) -> str:
    """Classes with their counts; of many rows a sample, evenly from the whole."""
    sampled = rows.select(range(0, len(rows), 1 + len(rows) // LABELS))
    counts = task.label_counts(sampled, split=split)
    if not counts:
        return ""
    of = f" in {len(sampled):,} rows" if len(sampled) < len(rows) else ""
    if len(counts) > MOST_CLASSES:
        return f"{len(counts)} classes, {min(counts):,} to {max(counts):,} each{of}"
    named = zip(task.label_names, counts, strict=True)
    return ", ".join(f"{plain(name)} {count:,}" for name, count in named) + of


def columns_of(rows: Dataset, *, used: Sequence[str | None], label_columns: Sequence[str | None]) -> str:
    """The columns with their types and the form of the labels, then those that are not used."""
    kinds = {name: str(rows.features.arrow_schema.field(name).type) for name in rows.column_names}
    for name in label_columns:
        if name in kinds:
            kinds[name] += f", {_form(rows[:1000][name])}"
    named = [name for name in dict.fromkeys(used) if name in kinds]
    rest = [plain(name) for name in kinds if name not in (*named, ROW_ID)]
    rest = [*rest[:8], "…"] if len(rest) > 8 else rest
    text = ", ".join(f"{plain(str(name))} ({kinds[str(name)].replace('large_', '')})" for name in named)
    return f"{text}; not used: {', '.join(rest)}" if rest else text


def _form(values: Sequence[Any]) -> str:
    """The form of labels: names, ids, numbers, 0/1 vectors, lists."""
    present = [value for value in values if value is not None and value != ""]
    if all(isinstance(value, list) for value in present):
        widths, members = {len(value) for value in present}, {str(one) for value in present for one in value}
        return f"0/1 vectors of {max(widths)}" if len(widths) == 1 and members <= {"0", "1"} else "lists"
    kinds = {type(value) for value in present}
    if kinds == {str} and all(value.lstrip()[:1] in "[{(" for value in present):
        return "lists as text"
    return "ids" if kinds == {int} else "numbers" if kinds == {float} else "names"


def reading_of(node: Any) -> str:
    """Format, separator and encoding with which the files of a data set are read, from its configuration."""
    if parts := node.get("parts"):
        return "; ".join(f"{name}: {reading_of(part.get('source') or {})}" for name, part in parts.items())
    options = [f"{name} {node[name]}".lower() for name in READING if node.get(name) is not None]
    name = str(node.get("_target_", "")).rpartition(".")[2].removeprefix("read_")
    return f"{name} ({', '.join(options)})" if options else name
