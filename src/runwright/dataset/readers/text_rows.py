"""Plain text as rows: a line or a whole file each, with the class from the folder's or file's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa

from runwright.dataset.readers.encoding import open_text, undecodable
from runwright.dataset.readers.paths import check_is_text
from runwright.dataset.readers.raw import BATCH_ROWS, RawSplit, split_of_files


def text_splits(
    paths: Mapping[str, Sequence[Path]],
    *,
    encoding: str,
    unit: Literal["line", "file"],
    label_from: Literal["folder", "file"] | None,
) -> dict[str, RawSplit]:
    """Rows with a column `text` and, with `label_from`, a column `label`."""
    names = ["text"] if label_from is None else ["text", "label"]
    schema = pa.schema([(name, pa.large_string()) for name in names])
    splits = {}
    for split, files in paths.items():
        batches_of = partial(
            _arrow, split=split, schema=schema, encoding=encoding, unit=unit, label_from=label_from
        )
        splits[split] = split_of_files(files, schema, batches_of, split=split, how=text_lines(unit))
    return splits


def label_of_file(path: Path, label_from: str | None) -> str:
    """The name of the file's folder, or its own without the ending."""
    return path.absolute().parent.name if label_from == "folder" else path.stem


def whole_text(path: Path, encoding: str, *, split: str) -> str:
    """The file as one text; raises DataError where it is not in this encoding."""
    try:
        with open_text(path, encoding) as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise undecodable(path, encoding, split=split, count_rows=lambda _: 0) from error


def text_lines(unit: str) -> dict[str, str]:
    """What it takes to find the line of a row, see `places.py`."""
    return {"reader": "lines"} if unit == "line" else {}


def _arrow(
    path: Path, *, split: str, schema: pa.Schema, encoding: str, unit: str, label_from: str | None
) -> Iterator[pa.RecordBatch]:
    check_is_text(path, split=split)
    label = label_of_file(path, label_from)
    texts = _texts(path, encoding, unit, split=split)
    while batch := list(islice(texts, BATCH_ROWS)):
        columns = [batch] if label_from is None else [batch, [label] * len(batch)]
        arrays = [pa.array(column, pa.large_string()) for column in columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _texts(path: Path, encoding: str, unit: str, *, split: str) -> Iterator[str]:
    if unit == "file":
        yield whole_text(path, encoding, split=split)
        return
    try:
        with open_text(path, encoding) as stream:
            for line in stream:
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise undecodable(
            path, encoding, split=split, count_rows=lambda before: before.count("\n")
        ) from error
