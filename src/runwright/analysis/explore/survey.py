"""One pass over the rows of a split: lengths, columns, labels, oddities and keys, in bounded memory."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from datasets import Dataset

from runwright.analysis.explore.oddities import SCRIPTS, find_odd, main_scripts
from runwright.analysis.explore.sketches import (
    NO_LABEL,
    DistinctCounter,
    FrequentValues,
    KeySample,
    LengthHistogram,
    hashes_of,
)
from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.near import bare
from runwright.dataset.readers.raw import ROW_ID

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

BATCH_ROWS = 1000
MAX_EXAMPLES = 5
MAX_KEY = 200  # characters of a value that is counted; what is longer goes on with its hash
Labels = Callable[[Any], list[str]]
"""The labels of one value of the label column, as text; none where it is missing."""


@dataclass(kw_only=True)
class ColumnSurvey:
    """What one column holds."""

    kind: str
    num: int = 0
    nulls: int = 0
    distinct: DistinctCounter = field(default_factory=DistinctCounter)
    frequent: FrequentValues = field(default_factory=FrequentValues)
    lowest: float = math.inf
    highest: float = -math.inf
    total: float = 0.0
    num_finite: int = 0

    def add(self, values: Any) -> None:
        """Take in a batch of values."""
        self.num += len(values)
        self.nulls += values.null_count
        counts = value_counts(values)
        self.distinct.add(hashes_of(_encoded(value) for value in counts))
        self.frequent.add(Counter(dict(counts)))
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            finite = values.to_numpy(zero_copy_only=False).astype(np.float64)
            finite = finite[np.isfinite(finite)]
            if len(finite):
                self.lowest = min(self.lowest, float(finite.min()))
                self.highest = max(self.highest, float(finite.max()))
                self.total += float(finite.sum())
                self.num_finite += len(finite)


@dataclass(kw_only=True)
class SplitSurvey:
    """What one split holds; positions are those of its rows."""

    split: str
    num_rows: int = 0
    columns: dict[str, ColumnSurvey] = field(default_factory=dict)
    characters: LengthHistogram = field(default_factory=LengthHistogram)
    words: LengthHistogram = field(default_factory=LengthHistogram)
    labels: FrequentValues = field(default_factory=lambda: FrequentValues(10_000))
    unlabelled: int = 0
    odd: Counter[str] = field(default_factory=Counter)
    odd_examples: dict[str, list[int]] = field(default_factory=dict)
    scripts: Counter[str] = field(default_factory=Counter)
    script_examples: dict[str, list[int]] = field(default_factory=dict)
    exact: KeySample = field(default_factory=KeySample)
    near: KeySample = field(default_factory=KeySample)


def survey(
    rows: Dataset,
    *,
    split: str,
    text_columns: Sequence[str],
    label_column: str | None,
    labels_of: Labels,
    on_progress: Callable[[int], None] | None = None,
) -> SplitSurvey:
    """Read the split once; `on_progress` gets the number of rows read so far."""
    found = SplitSurvey(split=split)
    for name in rows.column_names:
        if name != ROW_ID:
            found.columns[name] = ColumnSurvey(kind=str(rows.features.arrow_schema.field(name).type))
    for start, batch in batches(rows):
        for name, column in found.columns.items():
            column.add(batch[name])
        labels = batch[label_column].to_pylist() if label_column in batch else None
        _add_texts(found, start, {name: batch[name] for name in text_columns}, labels, labels_of)
        found.num_rows = start + len(next(iter(batch.values())))
        if on_progress is not None:
            on_progress(found.num_rows)
    return found


def batches(rows: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
    """(position of the first row, columns as arrays) of 1,000 rows at a time."""
    tables: Any = rows.with_format("arrow").iter(batch_size=BATCH_ROWS)
    start = 0
    for table in tables:
        columns = {name: _whole(table.column(name)) for name in table.column_names}
        yield start, columns
        start += table.num_rows


def texts_of(values: Any) -> pa.Array:
    """A column as texts: words of a list with spaces between them, nulls as they are."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    texts = [None if value is None else text_of(value) for value in values.to_pylist()]
    return pa.array(texts, pa.large_string())


def value_counts(values: Any) -> dict[str, int]:
    """How often each value comes, nulls left out; by its text."""
    values = values.drop_null()
    if pa.types.is_nested(values.type):
        texts = (json.dumps(value, ensure_ascii=False, default=str) for value in values.to_pylist())
        return Counter(map(_short, texts))
    counted = values.value_counts()
    names, counts = counted.field(0).to_pylist(), counted.field(1).to_pylist()
    return {_short(as_text(name)): count for name, count in zip(names, counts, strict=True)}


def _add_texts(
    found: SplitSurvey, start: int, columns: dict[str, Any], labels: list[Any] | None, labels_of: Labels
) -> None:
    arrays = {name: texts_of(values) for name, values in columns.items()}
    for array in arrays.values():
        found.characters.add(_lengths(pc.utf8_length(array)))
        words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(array)))
        found.words.add(_lengths(words))
        for name, places in find_odd(array).items():
            found.odd[name] += len(places)
            _remember(found.odd_examples, name, places + start)
    rows = list(zip(*([text or "" for text in array.to_pylist()] for array in arrays.values()), strict=True))
    if not rows:
        return
    main = main_scripts([" ".join(row) for row in rows])
    for number in np.unique(main).tolist():
        places = np.flatnonzero(main == number)
        found.scripts[SCRIPTS[number]] += len(places)
        _remember(found.script_examples, SCRIPTS[number], places + start)
    named = [labels_of(label) for label in labels] if labels is not None else [[]] * len(rows)
    found.labels.add(Counter(label for of_row in named for label in of_row))
    found.unlabelled += sum(not of_row for of_row in named) if labels is not None else 0
    label_hashes = hashes_of(_encoded("\x1f".join(of_row)) for of_row in named)
    label_hashes[[not of_row for of_row in named]] = NO_LABEL
    positions = np.arange(start, start + len(rows), dtype=np.int64)
    exact = hashes_of(_key(row) for row in rows)
    found.exact.add(exact, label_hashes, positions)
    # What differs under the same near key is the text itself.
    found.near.add(hashes_of(_key([bare(text) for text in row]) for row in rows), exact, positions)


def _remember(examples: dict[str, list[int]], name: str, positions: np.ndarray) -> None:
    known = examples.setdefault(name, [])
    known += positions[: MAX_EXAMPLES - len(known)].tolist()


def _lengths(values: Any) -> np.ndarray:
    return pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _whole(column: Any) -> Any:
    chunk = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(chunk, pa.ChunkedArray):
        return pa.concat_arrays(chunk.chunks) if chunk.num_chunks else pa.array([], chunk.type)
    return chunk


def _short(text: str) -> str:
    if len(text) <= MAX_KEY:
        return text
    return f"{text[:MAX_KEY]}… ({hashes_of([_encoded(text)])[0]:x})"


def _key(texts: Sequence[str]) -> bytes:
    return b"".join(len(content).to_bytes(8, "little") + content for content in map(_encoded, texts))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
