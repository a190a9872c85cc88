"""Column files as rows: sentences of words with their tags, parsed line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.addresses import files_of_splits
from runwright.dataset.readers.reading import Files, Position, Reader, known_encoding, lines_of
from runwright.dataset.readers.streams import read_files
from runwright.dataset.readers.text_rows import DELIMITERS, character_of
from runwright.errors import ConfigError
from runwright.types import Splits

BLANK = " \t\r\n\ufeff"  # files that were put together hold byte-order marks between their parts
DOCUMENT_MARK = "-DOCSTART-"  # a line of its own in CoNLL-2003
_CONLLU_COLUMNS = 10
_NO_WORD = re.compile(r"\d+[-.]\d+")  # CoNLL-U: 1-2, a word of several that follow; 8.1, an empty node
_SPACES = re.compile(r"[ \t]+")  # spaces of other kinds are a part of words


def read_conll(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    columns: dict[str, int],
    separator: str,
    comment: str | None,
    encoding: str,
) -> Splits:
    """Rows with a list of strings for each of `columns`, which says where it stands on a line.

    Lines without a word end a sentence; left out are lines that begin with `-DOCSTART-`, those that begin
    with `comment` before the first word of a sentence, and the ranges and empty nodes of CoNLL-U. Raises
    DataError naming file, row and line for a line with too few columns.
    """
    mark = None if separator == "whitespace" else separator
    mark = mark and character_of(mark, "dataset.source.separator", DELIMITERS)
    if not columns:
        raise ConfigError(
            "dataset.source.columns: expected at least one name with its column number from 0, as in words: 0"
        )
    encoding = known_encoding(encoding)
    reader = ConllReader(columns_on_line=columns, separator=mark, comment=comment, encoding=encoding)
    return read_files(reader, files_of_splits(files, folder))


@dataclass(frozen=True, kw_only=True)
class ConllReader(Reader):
    """Each sentence as one list of strings for each column."""

    columns_on_line: Mapping[str, int]  # name: place on the line
    separator: str | None  # None: blanks and tabs
    encoding: str
    comment: str | None = None

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        schema = pa.schema([(name, pa.list_(pa.string())) for name in self.columns_on_line])
        return dict.fromkeys(files, schema)

    def rows(self, at: Position, _: Sequence[str], /) -> Iterator[list[list[str]]]:
        """The columns of each sentence; raises DataError for a line with too few."""
        numbers = list(self.columns_on_line.values())
        usual = 0  # columns of the first line
        least = max(len(numbers), *(number + 1 if number >= 0 else -number for number in numbers))
        for lines in sentences(at, self.encoding, self.comment):
            by_mark = self.separator and [line.split(self.separator) for line in lines]
            words = by_mark or [_SPACES.split(line.strip(BLANK)) for line in lines]
            for number, fields in enumerate(words):
                usual, problem = usual or len(fields), f"{len(fields)} columns, "
                if len(fields) < least:
                    problem += f"dataset.source.columns asks for {least}"
                elif self.separator is None and len(fields) != usual:
                    problem += f"lines before have {usual}; for words with spaces separator=tab"
                else:
                    continue
                if any(line.startswith("#") for line in lines[: number + 1]):
                    problem += "; where lines with # are comments, set 'dataset.source.comment=\"#\"'"
                raise at.error(f"{problem}: {lines[number]!r:.60}", line=(at.line or 0) + number)
            if len(words[0]) >= _CONLLU_COLUMNS:
                words = [fields for fields in words if not _NO_WORD.fullmatch(fields[0])]
                if len(words) > 2 and 0 in numbers and [fields[0] for fields in words[:3]] == ["1", "2", "3"]:
                    problem = "the first column numbers the words: set dataset.source.separator=tab"
                    raise at.error(f"{problem} 'dataset.source.columns={{words: 1, tags: 3}}'")
            yield [[fields[number].strip() for fields in words] for number in numbers]

    def records(self, at: Position, /) -> Iterator[dict[str, Any]]:
        """Each sentence by column; of a file with a word on each line and nothing else the first column."""
        first = next(sentences(Position(address=at.address), self.encoding), [""])[0]
        columns = self.columns_on_line
        if len(first.split(self.separator)) == 1:
            columns = {name: number for name, number in columns.items() if number == 0} or columns
        for values in replace(self, columns_on_line=columns).rows(at, ()):
            yield dict(zip(columns, values, strict=True))


def sentences(at: Position, encoding: str, comment: str | None = None) -> Iterator[list[str]]:
    """The lines of each sentence; `at.line` is where it begins."""
    lines: list[str] = []
    first = 0
    for line in chain(lines_of(at, encoding), [""]):
        if comment and not lines and line.startswith(comment):
            continue
        if line.strip(BLANK) and not line.startswith(DOCUMENT_MARK):
            first = first if lines else at.num_lines
            lines.append(line.rstrip("\r\n"))
        elif lines:
            at.line = first
            yield lines
            lines = []
