"""Cleaning steps that change texts, and those that select or sort rows; a step goes from splits to splits.

These cache their results under a fingerprint of their options. A class has `row_wise = True` where the new
row depends on the old one alone, as a stream needs it.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow.compute
from datasets import Dataset, Value

from runwright.dataset.checks import row_error
from runwright.dataset.cleaning import passes
from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.cleaning.passes import RowFilter, Step, TextStep, lines_of_file, require_splits, take
from runwright.dataset.fingerprint import row_hashes
from runwright.errors import ConfigError
from runwright.types import NonNegativeInt, Splits

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers


class UnescapeHtml(TextStep):
    """`&amp;` becomes `&`, `&#8217;` an apostrophe; what was escaped twice is unescaped twice."""

    def change(self, text: str) -> str:
        while (once := html.unescape(text)) != text:
            text = once
        return text


class LowerCase(TextStep):
    """All letters in lower case."""

    def change(self, text: str) -> str:
        return text.lower()


@dataclass(frozen=True, kw_only=True)
class NormalizeUnicode(TextStep):
    """One of Unicode's normal forms: NFC composes; NFKC also makes compatible characters the same."""

    form: Literal["NFC", "NFD", "NFKC", "NFKD"]

    def change(self, text: str) -> str:
        return unicodedata.normalize(self.form, text)


class CollapseWhitespace(TextStep):
    """Every run of white space becomes one space; none at the ends."""

    def change(self, text: str) -> str:
        return " ".join(text.split())


_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True, kw_only=True)
class RemoveStopWords(TextStep):
    """Words given in `words`, or one a line in the file `path`, are removed, whatever their case."""

    words: list[str]
    path: str | None

    def change(self, text: str) -> str:
        # A word is a run of letters, digits, and apostrophes inside it; all between words stays.
        rest = _WORD.sub(lambda match: "" if match[0].casefold() in self._listed else match[0], text)
        return " ".join(rest.split()) if rest != text else text

    @property
    def key(self) -> Any:
        return ["stop words", sorted(self._listed)]

    @cached_property
    def _listed(self) -> frozenset[str]:
        words = self.words + (lines_of_file(self.path, "the stop words") if self.path else [])
        if not (listed := frozenset(word.casefold() for word in map(str.strip, words) if word)):
            raise ConfigError("RemoveStopWords: give words, or the path of a file with one word a line")
        return listed


@dataclass(frozen=True, kw_only=True)
class ReplacePattern(TextStep):
    r"""Replace each match of a regular expression by `replacement`, in which \1 is the first group."""

    pattern: str
    replacement: str

    def change(self, text: str) -> str:
        return re.sub(self.pattern, self.replacement, text)


@dataclass(frozen=True, kw_only=True)
class DropEmpty(RowFilter):
    """Rows in which any of these columns is null, NaN, blank or an empty list are dropped, not 0 or false."""

    columns: list[str]

    def keeps(self, value: Any) -> bool:
        blank = value in (None, []) or value != value or (isinstance(value, str) and not value.strip())
        return not blank


@dataclass(frozen=True, kw_only=True)
class FilterLength(RowFilter):
    """Rows are kept where every column has `min` to `max` characters, or words between white space."""

    columns: list[str]
    unit: Literal["characters", "words"]
    min: NonNegativeInt
    max: NonNegativeInt | None

    def keeps(self, value: Any) -> bool:
        text = text_of(value)
        length = len(text) if self.unit == "characters" else len(text.split())
        return self.min <= length and (self.max is None or length <= self.max)


@dataclass(frozen=True, kw_only=True)
class DropValues(RowFilter):
    """Rows whose `column` holds one of `values`, or of the lines of that file, as written, are dropped."""

    column: str
    values: list[Any] | str

    def keeps(self, value: Any) -> bool:
        return as_text(value) not in self.texts

    @property
    def key(self) -> Any:
        return [type(self).__name__, self.column, sorted(self.texts)]

    @cached_property
    def texts(self) -> dict[str, None]:
        if isinstance(self.values, list):
            return dict.fromkeys(map(as_text, self.values))
        return dict.fromkeys(filter(None, lines_of_file(self.values, "the file of values")))


@dataclass(frozen=True, kw_only=True)
class DropDuplicates:
    """Of rows with the same values in these columns, splits named in `within` keep the first.

    With `across`, train also loses the rows whose values an evaluation split has, so that those stay as
    published and unseen. Put it after the steps that change text; rows held out later cannot overlap then. A
    split without the columns stays whole.
    """

    columns: list[str]
    within: list[str]
    across: bool

    def __call__(self, splits: Splits) -> Splits:
        passes.require_columns_somewhere(splits, self.columns)
        require_splits(splits, self.within, option="within")
        keyed = {split: rows for split, rows in splits.items() if set(self.columns) <= set(rows.column_names)}
        hashes = {split: row_hashes(rows, self.columns) for split, rows in keyed.items()}
        result = dict(splits)
        for split, rows in keyed.items():
            stays = np.full(len(rows), split not in self.within)
            stays[np.unique(hashes[split], return_index=True)[1]] = True
            if split == "train" and self.across:
                others = [other for name, other in hashes.items() if name != "train"]
                stays &= ~np.isin(hashes[split], np.concatenate([np.empty(0, np.uint64), *others]))
            if not stays.all():
                result[split] = take(rows, np.flatnonzero(stays))
        return result


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


@dataclass(frozen=True, kw_only=True)
class Within:
    """`step`, another cleaning step, for the splits named in `splits` only."""

    splits: list[str]
    step: Any

    def __call__(self, splits: Splits) -> Splits:
        require_splits(splits, self.splits, option="Within.splits")
        return splits | self.step({split: splits[split] for split in self.splits})
