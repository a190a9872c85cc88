"""Column files as rows: sentences of words with their tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from runwright.dataset.encoding import known_encoding, open_text, undecodable
from runwright.dataset.paths import check_is_text, files_of_splits
from runwright.dataset.raw import RawSplit, file_state, kept_rows
from runwright.errors import ConfigError, DataError
from runwright.types import Splits

BATCH_SENTENCES = 2000
BLANK = " \t\r\n\ufeff"  # files that were put together hold byte-order marks between their parts
DOCUMENT_MARK = "-DOCSTART-"  # a line of its own in CoNLL-2003
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


def _splits(
    paths: Mapping[str, Sequence[Path]], columns: Mapping[str, int], separator: str | None, encoding: str
) -> dict[str, RawSplit]:
    schema = pa.schema([(name, pa.list_(pa.string())) for name in columns])
    splits = {}
    for split, files in paths.items():
        origins: list[tuple[str, int]] = []
        batches = _arrow(split, files, schema, columns, separator, encoding, origins)
        splits[split] = RawSplit(schema=schema, batches=batches, origins=origins)
    return splits


def _arrow(
    split: str,
    files: Sequence[Path],
    schema: pa.Schema,
    columns: Mapping[str, int],
    separator: str | None,
    encoding: str,
    origins: list[tuple[str, int]],
) -> Iterator[pa.RecordBatch]:
    for path in files:
        check_is_text(path, split=split)
        num_rows = 0
        batch: list[list[list[str]]] = []
        for sentence in _sentences(path, columns, separator, encoding, split):
            batch.append(sentence)
            num_rows += 1
            if len(batch) == BATCH_SENTENCES:
                yield _record_batch(batch, schema)
                batch = []
        if batch:
            yield _record_batch(batch, schema)
        if not num_rows:
            raise DataError("the file has no sentences", file=str(path), split=split)
        origins.append((str(path), num_rows))


def _record_batch(sentences: Sequence[list[list[str]]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        pa.array([sentence[place] for sentence in sentences], field.type)
        for place, field in enumerate(schema)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _sentences(
    path: Path, columns: Mapping[str, int], separator: str | None, encoding: str, split: str
) -> Iterator[list[list[str]]]:
    """Each sentence as one list of strings for each column."""
    least = max(len(columns), *(place + 1 if place >= 0 else -place for place in columns.values()))
    current: list[list[str]] = [[] for _ in columns]
    num_sentences = 0
    try:
        with open_text(path, encoding) as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip(BLANK) or line.startswith(DOCUMENT_MARK):
                    if current[0]:
                        yield current
                        num_sentences += 1
                    current = [[] for _ in columns]
                    continue
                fields = line.rstrip("\r\n").split(separator)
                if len(fields) < least:
                    raise DataError(
                        f"line {number} has {len(fields)} columns, dataset.source.columns asks for {least}: "
                        f"{line.rstrip()!r:.60}",
                        file=str(path),
                        split=split,
                        row=num_sentences,
                    )
                for values, place in zip(current, columns.values(), strict=True):
                    values.append(fields[place].strip())
    except UnicodeDecodeError as error:
        raise undecodable(path, encoding, split=split, count_rows=_count_sentences) from error
    if current[0]:
        yield current


def _count_sentences(before: str) -> int:
    return sum(1 for block in before.replace("\r", "").split("\n\n") if block.strip()) - 1
