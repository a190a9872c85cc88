"""The texts that a tokenizer is trained on: columns of a training split, or files; some at a time."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError, DataError, did_you_mean

BATCH = 1000  # texts in memory at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Texts that can be read as often as one likes, some at a time."""

    batches: Callable[[], Iterator[list[str]]]
    state: dict[str, Any]  # tells one corpus from another, for JSON
    name: str  # for people

    def texts(self) -> Iterator[str]:
        """One text after the other."""
        return chain.from_iterable(self.batches())


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTexts:
    """What a run has to train a tokenizer on: its training split and the columns of its task's texts."""

    tables: Callable[[], Iterable[Any]]  # Datasets with all rows, one after the other
    column_names: Sequence[str]  # of the rows
    columns: Sequence[str]  # of these the texts
    fingerprint: str  # of the rows
    options: Mapping[str, str] = field(default_factory=dict)  # of the task, by the text column they name

    def choose(self, *, files: Sequence[str] | None, columns: Sequence[str] | None) -> Corpus:
        """Texts of these files, else of these columns, else of the task's; raises where there are none."""
        if files is not None:
            return corpus_of_files(files)
        chosen = tuple(columns) if columns is not None else self.columns
        for column in chosen:
            if column not in self.column_names:
                raise self._missing(column, is_task_s=columns is None)
        if not chosen:
            raise ConfigError("tokenizer.columns: given [], expected at least one column, or null")
        return Corpus(
            batches=lambda: (batch for rows in self.tables() for batch in _of_rows(rows, chosen)),
            state={"rows": self.fingerprint, "columns": list(chosen)},
            name=f"{' and '.join(chosen)} of train",
        )

    def _missing(self, column: str, *, is_task_s: bool) -> DataError:
        names = "tokenizer.columns names those to train a tokenizer on"
        if is_task_s:
            names = f"{self.options.get(column, 'the task')} names it, {names}"
        there = ", ".join(map(repr, self.column_names))
        hint = did_you_mean(column, self.column_names)
        parts = [f"no such column; columns: {there}", *([hint] if hint else []), names]
        return DataError("; ".join(parts), split="train", column=column)


def corpus_of_files(files: Sequence[str]) -> Corpus:
    """The lines of UTF-8 text files, given as paths, folders or patterns; empty lines are no texts."""
    paths = [path for given in files for path in _matching(given)]
    return Corpus(
        batches=lambda: _batched(line for path in paths for line in _lines(path)),
        state={"files": {path.name: _digest(path) for path in paths}},
        name=", ".join(path.name for path in paths[:3]) + (" …" if len(paths) > 3 else ""),
    )


def _matching(given: str) -> list[Path]:
    path = Path(given).expanduser()
    matching = glob.glob(str(path), recursive=True)  # noqa: PTH207 - a pattern may be absolute
    found = sorted(path.rglob("*") if path.is_dir() else map(Path, matching))
    files = [file for file in found if file.is_file()]
    if not files:
        raise ConfigError(f"tokenizer.files: given {given!r}, which is no file, folder or pattern of files")
    return files


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if text := line.rstrip("\n"):
                    yield text
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: {error.reason} at byte {error.start} of a piece", file=str(path)
        ) from error


def _of_rows(rows: Any, columns: Sequence[str]) -> Iterator[list[str]]:
    for batch in rows.select_columns(list(columns)).with_format(None).iter(batch_size=BATCH):
        texts = [text for column in columns for value in batch[column] for text in _texts_in(value)]
        if texts:
            yield texts


def _texts_in(value: Any) -> Iterator[str]:
    """The text itself, or the texts of a list: words of a sentence, answers, turns."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts_in(inner)
    elif value is not None and not isinstance(value, dict):
        yield str(value)


def _batched(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
