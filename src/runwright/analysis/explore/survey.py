"""What one split holds: hashes, lengths and scripts of its texts, its labels, and its columns."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.analysis.explore.oddities import find_odd, main_scripts
from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.near import bare
from runwright.dataset.readers.raw import ROW_ID

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

BATCH_ROWS = 1000
MAX_EXAMPLES = 5
MAX_VALUES = 5  # of a column, the most frequent ones
MAX_VALUE = 200  # characters
MAX_CLASSES = 10_000  # different labels beyond are no classes
NO_VALUE = 0  # in place of a hash
Labels = Callable[[Any], list[str]]
"""The labels of one value of the label column, as text; none where it is missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnSurvey:
    """What one column holds."""

    kind: str
    num: int
    nulls: int
    distinct: int  # null not counted
    common: tuple[tuple[str, int], ...]  # the most frequent values, without null
    numbers: np.ndarray  # [N] float64, the finite ones; empty where the column holds something else


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSurvey:
    """What one split holds; N rows, positions are those of its rows.

    Hashes have 64 bits: among 10^7 rows the chance that any two texts share one is 3e-6.
    """

    split: str
    num_rows: int
    columns: dict[str, ColumnSurvey]
    characters: np.ndarray  # [N * text columns] int64
    words: np.ndarray  # [N * text columns] int64
    exact: np.ndarray  # [N] uint64, hashes of the texts; empty without text columns, as the next three are
    near: np.ndarray  # [N] uint64, hashes of what is the same for texts that are nearly so
    label_hashes: np.ndarray  # [N] uint64, of all labels of a row; NO_VALUE where there is none
    scripts: np.ndarray  # [N] uint8, positions in SCRIPTS
    odd: dict[str, np.ndarray]  # positions of the texts by the name of their oddity
    labels: Counter[str]  # empty where there are more than MAX_CLASSES
    unlabelled: int


def survey(
    rows: Dataset,
    *,
    split: str,
    text_columns: Sequence[str],
    label_column: str | None,
    labels_of: Labels,
    on_progress: Callable[[int], None] | None = None,
) -> SplitSurvey:
    """Read texts and labels, then the columns one by one; `on_progress` gets how many texts are read."""
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    odd: dict[str, list[np.ndarray]] = defaultdict(list)
    labels: Counter[str] = Counter()
    names = [*text_columns, *([label_column] if label_column not in (None, *text_columns) else [])]
    for start, batch in batches(rows.select_columns(names)) if text_columns else ():
        texts = [texts_of(batch[name]) for name in text_columns]
        values = [None] * len(texts[0]) if label_column is None else batch[label_column].to_pylist()
        labels_of_rows = list(map(labels_of, values))
        label_hashes = hashes_of("\x1f".join(each) if each else None for each in labels_of_rows)
        for name, array in {**_describe(texts), "labels": label_hashes}.items():
            parts[name].append(array)
        for array in texts:
            for name, positions in find_odd(array).items():
                odd[name].append(positions + start)
        if len(labels) <= MAX_CLASSES:
            labels.update(label for each in labels_of_rows for label in each)
        if on_progress is not None:
            on_progress(start + len(values))
    label_hashes = _joined(parts["labels"], np.uint64)
    return SplitSurvey(
        split=split,
        num_rows=len(rows),
        columns={name: survey_column(rows, name) for name in rows.column_names if name != ROW_ID},
        characters=_joined(parts["characters"], np.int64),
        words=_joined(parts["words"], np.int64),
        exact=_joined(parts["exact"], np.uint64),
        near=_joined(parts["near"], np.uint64),
        label_hashes=label_hashes,
        scripts=_joined(parts["scripts"], np.uint8),
        odd={name: np.concatenate(positions) for name, positions in odd.items()},
        labels=labels if len(labels) <= MAX_CLASSES else Counter(),
        unlabelled=0 if label_column is None else int((label_hashes == NO_VALUE).sum()),
    )


def _describe(columns: Sequence[pa.Array]) -> dict[str, np.ndarray]:
    """The arrays of SplitSurvey that come from the texts of some rows."""
    words = [pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column)) for column in columns]
    rows = list(zip(*([text or "" for text in column.to_pylist()] for column in columns), strict=True))
    return {
        "characters": np.concatenate([_lengths(pc.utf8_length(column)) for column in columns]),
        "words": np.concatenate([_lengths(pc.list_value_length(column)) for column in words]),
        "scripts": main_scripts([" ".join(row) for row in rows]),
        "exact": hashes_of(map(_key, rows)),
        "near": hashes_of(_key([bare(text) for text in row]) for row in rows),
    }


def survey_column(rows: Dataset, name: str) -> ColumnSurvey:
    """Count the different values of a column by their hashes."""
    kind = rows.features.arrow_schema.field(name).type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    parts, numbers = [], []
    for _, batch in batches(rows.select_columns([name])):
        values = batch[name]
        parts.append(hashes_of(value_texts(values)))
        if is_number:
            of_batch = values.to_numpy(zero_copy_only=False).astype(np.float64)
            numbers.append(of_batch[np.isfinite(of_batch)])
    hashes = _joined(parts, np.uint64)
    different, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    is_value = different != NO_VALUE
    first, counts = first[is_value], counts[is_value]
    order = np.lexsort((first, -counts))[:MAX_VALUES]
    top = rows.select_columns([name]).select(first[order], keep_in_memory=True)
    texts = [str(text) for _, batch in batches(top) for text in value_texts(batch[name])]
    texts = [text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…" for text in texts]
    return ColumnSurvey(
        kind=str(kind),
        num=len(hashes),
        nulls=len(hashes) - int(counts.sum()),
        distinct=len(counts),
        common=tuple(zip(texts, counts[order].tolist(), strict=True)),
        numbers=_joined(numbers, np.float64),
    )


def batches(rows: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
    """(position of the first row, columns as arrays) of 1,000 rows at a time."""
    tables: Any = rows.with_format("arrow").iter(batch_size=BATCH_ROWS)
    start = 0
    for table in tables:
        yield start, {name: pa.concat_arrays(table.column(name).chunks) for name in table.column_names}
        start += table.num_rows


def texts_of(values: Any) -> pa.Array:
    """A column as texts: words of a list with spaces between them, nulls as they are."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    texts = [None if value is None else text_of(value) for value in values.to_pylist()]
    return pa.array(texts, pa.large_string())


def value_texts(values: Any) -> list[str | None]:
    """Any values as text, lists and structures as JSON; None for null."""
    if pa.types.is_nested(values.type):
        return [
            None if value is None else json.dumps(value, ensure_ascii=False, default=str)
            for value in values.to_pylist()
        ]
    return [None if value is None else as_text(value) for value in values.to_pylist()]


def hashes_of(texts: Iterable[str | bytes | None]) -> np.ndarray:
    """64 bits for each text, [N] uint64; NO_VALUE for None."""

    def hash_of(text: str | bytes | None) -> int:
        if text is None:
            return NO_VALUE
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")

    return np.fromiter(map(hash_of, texts), dtype=np.uint64)


def quantile(lengths: np.ndarray, share: float) -> int:
    """The length that this share of all does not exceed; 0 where there are none."""
    return int(np.quantile(lengths, share, method="inverted_cdf")) if len(lengths) else 0


def _key(texts: Sequence[str]) -> bytes:
    contents = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(len(content).to_bytes(8, "little") + content for content in contents)


def _lengths(values: Any) -> np.ndarray:
    return pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _joined(parts: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
