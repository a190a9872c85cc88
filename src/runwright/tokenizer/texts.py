"""The texts that a tokenizer is trained on: columns of a training split, or files; some at a time."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError, DataError
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


def corpus_of_rows(
    tables: Callable[[], Iterable[Any]], columns: Sequence[str], *, fingerprint: str
) -> Corpus:
    """The texts in columns of Datasets, which come one after the other; `fingerprint` identifies the rows."""
    return Corpus(
        batches=lambda: (batch for rows in tables() for batch in _of_rows(rows, columns)),
        state={"rows": fingerprint, "columns": list(columns)},
        name=f"{' and '.join(columns)} of train",
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
