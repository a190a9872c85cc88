"""The texts that a tokenizer is trained on: columns of a training split, or files; some at a time."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError, DataError, did_you_mean
from runwright.store import file_sha256

BATCH = 1000  # texts in memory at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Texts that can be read as often as one likes, some at a time."""

    batches: Callable[[], Iterator[list[str]]]
    state: dict[str, Any]  # tells one corpus from another, for JSON
    name: str  # for people

    def texts(self) -> Iterator[str]:
        return chain.from_iterable(self.batches())


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTexts:
    """The training split of a run and the columns of its task's texts, to train a tokenizer on."""

    tables: Callable[[], Iterable[Any]]  # Datasets with all rows, one after the other
    column_names: Sequence[str]  # of the rows
    columns: Sequence[str]  # of these the texts
    fingerprint: str  # of the rows
    options: Mapping[str, str] = field(default_factory=dict)  # of the task, by the text column they name

    def choose(self, *, files: Sequence[str] | None, columns: Sequence[str] | None) -> Corpus:
        """Texts of these files, else of these columns, else of the task's; raises where there are none."""
        if files is not None:
            return corpus_of_files(files)
        names = self.columns if columns is None else columns
        if missing := [name for name in names if name not in self.column_names]:
            action = "tokenizer.columns names those to train a tokenizer on"
            if columns is None:
                action = f"{self.options.get(missing[0], 'the task')} names it, {action}"
            present = f"no such column; columns: {', '.join(map(repr, self.column_names))}"
            parts = [present, did_you_mean(missing[0], self.column_names), action]
            raise DataError("; ".join(filter(None, parts)), split="train", column=missing[0])
        if not names:
            raise ConfigError("tokenizer.columns: given [], expected at least one column, or null")
        return Corpus(
            batches=lambda: (batch for rows in self.tables() for batch in _of_rows(rows, names)),
            state={"rows": self.fingerprint, "columns": list(names)},
            name=f"{' and '.join(names)} of train",
        )


def corpus_of_files(files: Sequence[str]) -> Corpus:
    """The lines of UTF-8 text files, given as paths, folders or patterns; empty lines are no texts."""
    paths = [path for pattern in files for path in _matching(pattern)]

    def batches() -> Iterator[list[str]]:
        lines = chain.from_iterable(map(_lines, paths))
        while batch := list(islice(lines, BATCH)):
            yield batch

    return Corpus(
        batches=batches,
        state={"files": {path.name: file_sha256(path) for path in paths}},
        name=", ".join(path.name for path in paths[:3]) + (" …" if len(paths) > 3 else ""),
    )


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    paths = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - a pattern may be absolute
    files = sorted(file for file in paths if file.is_file())
    if not files:
        raise ConfigError(f"tokenizer.files: given {pattern!r}, which is no file, folder or pattern of files")
    return files


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from filter(None, (line.rstrip("\n") for line in file))
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: {error.reason} at byte {error.start} of a piece"
        raise DataError(problem, file=str(path)) from error


def _of_rows(rows: Any, columns: Sequence[str]) -> Iterator[list[str]]:
    for batch in rows.select_columns(list(columns)).with_format(None).iter(batch_size=BATCH):
        if texts := [text for column in columns for value in batch[column] for text in _texts_in(value)]:
            yield texts


def _texts_in(value: Any) -> Iterator[str]:
    """The text itself, or the texts of a list: words of a sentence, answers, messages."""
    if isinstance(value, list | tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(inner)
    elif value not in (None, ""):
        yield str(value)
