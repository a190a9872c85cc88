"""Cleaning steps for texts, named in YAML: a step is any callable from splits to splits.

These cache their results under a fingerprint of their options. A class has `row_wise = True` where the new
row depends on the old one alone, as a stream needs it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from runwright.dataset.checks import row_error
from runwright.dataset.cleaning.columns import text_of
from runwright.dataset.cleaning.passes import RepeatFilter, RowFilter, Step, TextStep, new_values
from runwright.dataset.cleaning.selection import KeepValues
from runwright.errors import ConfigError, DataError
from runwright.types import NonNegativeInt

_INDICATORS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


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


# Thai, Lao, Myanmar, Khmer, Japanese kana, Han; none of them puts spaces between words.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True, kw_only=True)
class RemoveStopWords(TextStep):
    """Words given in `words`, or one a line in the file `path`, are removed, whatever their case.

    Words with letters of scripts that put no spaces between words (Chinese, Japanese, Thai and others) are
    removed wherever they stand, the longest first.
    """

    words: list[str]
    path: str | None

    def change(self, text: str) -> str:
        # A word is a run of letters, digits, and apostrophes inside it; all between words stays.
        rest = _WORD.sub(lambda match: "" if match[0].casefold() in self._listed else match[0], text)
        rest = self._anywhere.sub("", rest)
        return " ".join(rest.split()) if rest != text else text

    @property
    def key(self) -> Any:
        return ["stop words", sorted(self._listed)]

    @cached_property
    def _anywhere(self) -> re.Pattern[str]:
        inside = sorted(filter(_UNSPACED.search, sorted(self._listed)), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, inside)) or "(?!)")

    @cached_property
    def _listed(self) -> frozenset[str]:
        words = list(self.words)
        if self.path is not None:
            try:
                words += Path(self.path).expanduser().read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"the stop words cannot be read: {error}", file=self.path) from error
        listed = frozenset(word.casefold() for word in map(str.strip, words) if word)
        if not listed:
            raise ConfigError("RemoveStopWords: give words, or the path of a file with one word a line")
        return listed


@dataclass(frozen=True, kw_only=True)
class JoinIndicators(Step):
    """A new column `into` with the names of those columns that hold 1 or true, joined by `separator`."""

    columns: list[str]
    into: str
    separator: str

    def change_split(self, rows: Dataset, columns: list[str], split: str) -> Dataset:
        def join(*row: Any) -> str:
            *values, position = row
            marks = [_INDICATORS.get(str(value).lower()) for value in values]
            if None in marks:
                bad = marks.index(None)
                raise row_error(
                    f"expected 1 or 0, true or false, given {values[bad]!r}; MapValues or DropValues can go "
                    "before",
                    rows, position, split=split, column=columns[bad],
                )  # fmt: skip
            return self.separator.join(name for name, mark in zip(columns, marks, strict=True) if mark)

        return new_values(rows, columns, self.into, join, kind="string", key=self.key)


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


class DropValues(KeepValues):
    """Rows whose `column` holds one of `values` are dropped; compared as they are written, null too."""

    def keeps(self, value: Any) -> bool:
        return not super().keeps(value)


class DropDuplicates(RepeatFilter):
    """Of rows with the same values in these columns, splits named in `within` keep the first.

    With `across`, train also loses the rows whose values an evaluation split has, so that those stay as
    published and unseen. Put it after the steps that change text; rows held out later cannot overlap then.
    """
