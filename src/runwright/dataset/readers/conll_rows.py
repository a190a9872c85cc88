"""Parse column files, line by line, into sentences of words with their tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.reading import Files, Position, Reader, lines_of

BLANK = " \t\r\n\ufeff"  # files that were put together hold byte-order marks between their parts
DOCUMENT_MARK = "-DOCSTART-"  # a line of its own in CoNLL-2003
_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True, kw_only=True)
class ConllReader(Reader):
    """Each sentence as one list of strings for each column."""

    columns_on_line: Mapping[str, int]  # name: place on the line
    separator: str | None  # None: blanks and tabs
    encoding: str

    def schemas(self, files: Files, *, sampled: str | None) -> dict[str, pa.Schema]:  # noqa: ARG002
        schema = pa.schema([(name, pa.list_(pa.string())) for name in self.columns_on_line])
        return dict.fromkeys(files, schema)

    def rows(self, at: Position, names: Sequence[str] = ()) -> Iterator[list[list[str]]]:  # noqa: ARG002
        """The columns of each sentence; raises DataError for a line with too few."""
        places = list(self.columns_on_line.values())
        usual = 0  # columns of the first line
        least = max(len(places), *(place + 1 if place >= 0 else -place for place in places))
        for lines in sentences(at, self.encoding):
            words = [_fields(line, self.separator) for line in lines]
            for number, fields in enumerate(words):
                problem = None
                if len(fields) < least:
                    problem = f"{len(fields)} columns, dataset.source.columns asks for {least}"
                elif self.separator is None and len(fields) != (usual := usual or len(fields)):
                    problem = (
                        f"{len(fields)} columns, lines before have {usual}; for words with spaces "
                        "separator=tab"
                    )
                if problem:
                    raise at.error(f"{problem}: {lines[number]!r:.60}", line=(at.line or 0) + number)
            yield [[fields[place].strip() for fields in words] for place in places]

    def how(self, num_columns: int) -> dict[str, Any]:  # noqa: ARG002
        """What it takes to find the line of a row, see `places.py`."""
        return {"reader": "sentences", "encoding": self.encoding}


def sentences(at: Position, encoding: str) -> Iterator[list[str]]:
    """The lines of each sentence; `at.line` is where it begins."""
    lines: list[str] = []
    first = 0
    for line in lines_of(at, encoding):
        if line.strip(BLANK) and not line.startswith(DOCUMENT_MARK):
            first = first if lines else at.line
            lines.append(line.rstrip("\r\n"))
        elif lines:
            at.line = first
            yield lines
            lines = []
    if lines:
        at.line = first
        yield lines


def _fields(line: str, separator: str | None) -> list[str]:
    """What stands on a line; spaces of other kinds than blanks and tabs are a part of words."""
    return line.split(separator) if separator is not None else _SPACES.split(line.strip(BLANK))
