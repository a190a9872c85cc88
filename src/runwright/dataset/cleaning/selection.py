"""Cleaning steps that select rows by value, pattern, near duplicates or class, and one that sorts them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute
from datasets import Dataset, Value

from runwright.dataset.checks import missing_column, row_error
from runwright.dataset.cleaning.columns import as_text
from runwright.dataset.cleaning.passes import RowFilter, Step, require_splits, take
from runwright.dataset.cleaning.texts import DropDuplicates, DropValues
from runwright.dataset.fingerprint import bare, column_chunks, row_keys, row_numbers
from runwright.dataset.load import random_order
from runwright.types import PositiveInt, Splits

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers


class KeepValues(DropValues):
    """Rows whose `column` holds one of `values` are kept; numbers are compared as they are written."""

    def keeps(self, value: Any) -> bool:
        return not super().keeps(value)


@dataclass(frozen=True, kw_only=True)
class FilterRange(RowFilter):
    """Rows whose `column` holds a number from `min` to `max` are kept, both included; null: no limit."""

    column: str
    min: float | None
    max: float | None

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        kind = getattr(rows.features[self.column], "dtype", "")
        if not kind.startswith(("int", "uint", "float", "bool")):
            problem = "a range needs numbers; put CastColumns before it"
            raise row_error(problem, rows, 0, split=split, column=self.column)
        return super().change_split(rows, columns, split)

    def keeps(self, value: Any) -> bool:
        if value is None or value != value:
            return False
        return (self.min is None or self.min <= value) and (self.max is None or value <= self.max)


@dataclass(frozen=True, kw_only=True)
class FilterPattern(RowFilter):
    """Rows in whose `column` the regular expression is found are kept; with `keep: false` dropped."""

    column: str
    pattern: str
    keep: bool

    def keeps(self, value: Any) -> bool:
        return (value is not None and re.search(self.pattern, as_text(value)) is not None) == self.keep


class DropNearDuplicates(DropDuplicates):
    """As DropDuplicates, but texts are the same where their letters and digits are, in whatever case.

    White space, punctuation, accents written in another way and full-width letters make no difference.
    """

    def keys(self, rows: Dataset) -> Iterator[bytes]:
        return row_keys(rows, self.columns, form=lambda value: bare("" if value is None else str(value)))


@dataclass(frozen=True, kw_only=True)
class Sort(Step):
    """Rows in the order of the numbers or texts in `column`; equal ones stay as they are, null comes last."""

    row_wise = False
    column: str
    descending: bool

    def change_split(self, rows: Dataset, columns: list[str], split: str, /) -> Dataset:
        if not isinstance(rows.features[self.column], Value):
            raise row_error("only numbers and texts have an order", rows, 0, split=split, column=self.column)
        table: Any = rows.select_columns(columns).with_format("arrow")
        how = "descending" if self.descending else "ascending"
        return take(rows, pc.sort_indices(table[:], sort_keys=[(self.column, how, "at_end")]).to_numpy())


class SamplePerClass:
    """At most `count` rows of each value of `column` are kept, drawn by the seed; null: as of the rarest.

    Only splits named in `within` are changed. Which rows of a class are kept does not depend on the others.
    """

    def __init__(self, seed: int, *, column: str, count: PositiveInt | None, within: list[str]) -> None:
        self.seed, self.column, self.count, self.within = seed, column, count, within

    def __call__(self, splits: Splits) -> Splits:
        require_splits(splits, self.within, option="SamplePerClass.within")
        return splits | {split: self._sampled(splits[split], split) for split in self.within}

    def _sampled(self, rows: Dataset, split: str) -> Dataset:
        if self.column not in rows.column_names:
            raise missing_column(self.column, rows, split=split)
        classes: dict[str, int] = {}
        values = (value for _, chunk in column_chunks(rows, self.column) for value in chunk.to_pylist())
        codes = np.array([classes.setdefault(as_text(value), len(classes)) for value in values], np.int64)
        sizes = np.bincount(codes, minlength=len(classes))
        count = self.count or int(sizes.min(initial=len(rows)))
        row_ids = row_numbers(rows)
        drawn = [np.empty(0, np.int64)]
        for name, code in classes.items():
            positions = np.flatnonzero(codes == code)
            order = random_order(row_ids[positions], seed=self.seed, purpose=f"sample of {split}: {name}")
            drawn.append(positions[order[:count]])
        return take(rows, np.sort(np.concatenate(drawn)))


@dataclass(frozen=True, kw_only=True)
class Within:
    """`step`, another cleaning step, for the splits named in `splits` only."""

    splits: list[str]
    step: Any

    def __call__(self, splits: Splits) -> Splits:
        require_splits(splits, self.splits, option="Within.splits")
        return splits | self.step({split: splits[split] for split in self.splits})
