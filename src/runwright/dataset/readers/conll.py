"""Column files as rows: sentences of words with their tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa

from runwright.dataset.readers.encoding import known_encoding, open_text, undecodable
from runwright.dataset.readers.paths import check_is_text, files_of_splits
from runwright.dataset.readers.raw import RawSplit, file_state, kept_rows, split_of_files
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

BATCH_SENTENCES = 2000
BLANK = " \t\r\n\ufeff"  # files that were put together hold byte-order marks between their parts
DOCUMENT_MARK = "-DOCSTART-"  # a line of its own in CoNLL-2003
_SPACES = re.compile(r"[ \t]+")
_SEPARATORS = {"whitespace": None, "tab": "\t", "comma": ",", "space": " "}


def read_conll(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    columns: dict[str, int],
    separator: str,
    encoding: str,
) -> Splits:
    """Rows with a list of strings for each of `columns`, which says where it stands on a line.

    Lines without a word end a sentence; lines that begin with `-DOCSTART-` are left out. Raises DataError
    naming file, row and line for a line with too few columns.
    """
    mark = _SEPARATORS.get(separator, separator)
    if mark is not None and len(mark) != 1:
        raise ConfigError(
            f"dataset.source.separator: expected one character or one of {', '.join(_SEPARATORS)}, "
            f"got {separator!r}"
        )
    if not columns:
        raise ConfigError(
            "dataset.source.columns: expected at least one name with its place, such as words: 0"
        )
    encoding = known_encoding(encoding)
    paths = files_of_splits(files, folder)
    key = {
        "reader": "conll",
        "files": {split: [file_state(path) for path in paths[split]] for split in paths},
        "options": [columns, separator, encoding],
    }
    return kept_rows(key, lambda: _splits(paths, columns, mark, encoding))


def sentences(path: Path, encoding: str, *, split: str) -> Iterator[tuple[int, list[str]]]:
    """The number of its first line, and the lines of each sentence."""
    lines: list[str] = []
    number = 0
    try:
        with open_text(path, encoding) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip(BLANK) and not line.startswith(DOCUMENT_MARK):
                    lines.append(line.rstrip("\r\n"))
                elif lines:
                    yield number - len(lines), lines
                    lines = []
    except UnicodeDecodeError as error:
        raise undecodable(path, encoding, split=split, count_rows=_count_sentences) from error
    if lines:
        yield number + 1 - len(lines), lines


def _splits(
    paths: Mapping[str, Sequence[Path]], columns: Mapping[str, int], separator: str | None, encoding: str
) -> dict[str, RawSplit]:
    schema = pa.schema([(name, pa.list_(pa.string())) for name in columns])
    how = {"reader": "sentences", "encoding": encoding}
    splits = {}
    for split, files in paths.items():
        batches_of = partial(
            _arrow, split=split, schema=schema, columns=columns, separator=separator, encoding=encoding
        )
        splits[split] = split_of_files(files, schema, batches_of, split=split, how=how)
    return splits


def _arrow(
    path: Path,
    *,
    split: str,
    schema: pa.Schema,
    columns: Mapping[str, int],
    separator: str | None,
    encoding: str,
) -> Iterator[pa.RecordBatch]:
    check_is_text(path, split=split)
    rows = _rows(path, columns, separator, encoding, split)
    while batch := list(islice(rows, BATCH_SENTENCES)):
        arrays = [pa.array([row[place] for row in batch], field.type) for place, field in enumerate(schema)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows(
    path: Path, columns: Mapping[str, int], separator: str | None, encoding: str, split: str
) -> Iterator[list[list[str]]]:
    """Each sentence as one list of strings for each column."""
    places = list(columns.values())
    usual = 0  # columns of the first line
    least = max(len(columns), *(place + 1 if place >= 0 else -place for place in places))
    for row, (first, lines) in enumerate(sentences(path, encoding, split=split)):
        words = [_fields(line, separator) for line in lines]
        for number, fields in enumerate(words):
            problem = None
            if len(fields) < least:
                problem = f"{len(fields)} columns, dataset.source.columns asks for {least}"
            elif separator is None and len(fields) != (usual := usual or len(fields)):
                problem = (
                    f"{len(fields)} columns, lines before have {usual}; for words with spaces separator=tab"
                )
            if problem:
                raise DataError(
                    f"{problem}: {lines[number]!r:.60}",
                    file=str(path), line=first + number, split=split, row=row,
                )  # fmt: skip
        yield [[fields[place].strip() for fields in words] for place in places]


def _fields(line: str, separator: str | None) -> list[str]:
    """What stands on a line; spaces of other kinds than blanks and tabs are a part of words."""
    return line.split(separator) if separator is not None else _SPACES.split(line.strip(BLANK))


def _count_sentences(before: str) -> int:
    return sum(1 for block in before.replace("\r", "").split("\n\n") if block.strip()) - 1
