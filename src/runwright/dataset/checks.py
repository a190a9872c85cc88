"""Checks of rows before weights are loaded: errors that name file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.dataset.fingerprint import column_chunks
from runwright.dataset.readers.csv_rows import other_dialect
from runwright.dataset.readers.raw import ROW_ID, files_of, left_out_of, locate
from runwright.errors import DataError, did_you_mean
from runwright.types import Splits

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

Kind = Literal["text", "any"]


def require_columns(
    splits: Splits,
    columns: Mapping[str, Kind],
    *,
    whole: bool = True,
    options: Mapping[str, str] | None = None,
) -> None:
    """Raise DataError unless every split has rows and these columns, without nulls.

    `options` are those that name the columns. A column of kind "text" must hold strings, where the splits are
    `whole` not all of them blank.
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
        problem += (
            "column, or read it as text (csv: column_types; pandas: to_json(orient='records', lines=True))"
        )
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
    if "paragraphs" in str(rows.features):
        hint = "SQuAD's nested files are read by dataset=squad"
    if names == ["text"] and not hint:
        hint = "dataset=text takes labels from folders, files or lines: dataset.source.label_from"
    if not hint and any(len(name.split()) > 3 for name in names):
        hint = "where the first line of csv is a row, set dataset.source.header=false"
    hint = (names and other_dialect(names)) or hint
    hint = hint or (option and f"{option} names it")
    file = locate(rows, 0).file
    problem = f"no such column; columns: {', '.join(map(repr, names))}{hint and '; '}{hint}"
    return DataError(problem, file=file, split=split, column=column)


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

    A task names a row by its position among those that it was given: the rows of a split, or those with these
    ids out of the only split.
    """
    try:
        yield
    except DataError as error:
        split = error.split if error.split in splits else next(iter(splits))
        if error.file is not None or (split != error.split and len(splits) > 1):
            raise
        rows = splits[split]
        if error.row is None:  # about a whole split: its file, where there is only one
            files = files_of(rows)
            file = files[0] if len(files) == 1 else None
            raise DataError(error.problem, file=file, split=split, column=error.column) from error
        if row_ids is None:
            raise row_error(error.problem, rows, error.row, split=split, column=error.column) from error
        where = locate(rows, int(row_ids[error.row]))
        raise DataError(error.problem, split=split, column=error.column, **where._asdict()) from error


def special_token_note(rows: Dataset, columns: Sequence[str], tokens: Sequence[str]) -> str | None:
    """A sentence on texts that hold special tokens of the tokenizer, which takes them for these."""
    counts: Counter[str] = Counter()
    for _, values in (chunk for column in columns for chunk in column_chunks(rows, column)):
        texts = values.flatten() if pa.types.is_list(values.type) else values
        if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
            for token in tokens:
                counts[token] += pc.sum(pc.match_substring(texts, token)).as_py() or 0
    named = ", ".join(f"{token} in {count:,}" for token, count in counts.items() if count)
    return f"special tokens of the tokenizer stand in texts and count as such: {named}" if named else None
