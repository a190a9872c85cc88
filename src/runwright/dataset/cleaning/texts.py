"""Cleaning steps, each chosen in YAML: a step takes all splits and returns them changed.

A step is any callable from splits to splits; these cache what they do under a fingerprint of their options.
A class says `row_wise = True` where what becomes of a row depends on that row alone, as a stream needs it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runwright.dataset.checks import row_keys
from runwright.dataset.cleaning.columns import as_text, text_of
from runwright.dataset.cleaning.passes import change_texts, drop_repeats, join_indicators, keep_rows
from runwright.errors import ConfigError, DataError
from runwright.types import NonNegativeInt, Splits


@dataclass(frozen=True, kw_only=True)
class UnescapeHtml:
    """`&amp;` becomes `&`, `&#8217;` an apostrophe; what was escaped twice is unescaped twice."""

    row_wise = True
    columns: list[str]

    def __call__(self, splits: Splits) -> Splits:
        return change_texts(splits, self.columns, _unescape, key="unescape html")


@dataclass(frozen=True, kw_only=True)
class LowerCase:
    """All letters in lower case."""

    row_wise = True
    columns: list[str]

    def __call__(self, splits: Splits) -> Splits:
        return change_texts(splits, self.columns, str.lower, key="lower case")


@dataclass(frozen=True, kw_only=True)
class NormalizeUnicode:
    """One of Unicode's normal forms: NFC composes; NFKC also makes compatible characters the same."""

    row_wise = True
    columns: list[str]
    form: Literal["NFC", "NFD", "NFKC", "NFKD"]

    def __call__(self, splits: Splits) -> Splits:
        form = self.form
        return change_texts(
            splits, self.columns, lambda text: unicodedata.normalize(form, text), key=["unicode", form]
        )


@dataclass(frozen=True, kw_only=True)
class CollapseWhitespace:
    """Every run of white space becomes one space; none at the ends."""

    row_wise = True
    columns: list[str]

    def __call__(self, splits: Splits) -> Splits:
        return change_texts(
            splits, self.columns, lambda text: " ".join(text.split()), key="collapse whitespace"
        )


@dataclass(frozen=True, kw_only=True)
class RemoveStopWords:
    """Words given in `words`, or one a line in the file `path`, are removed, whatever their case.

    Words with letters of scripts that put no spaces between words (Chinese, Japanese, Thai and others) are
    removed wherever they stand, the longest first.
    """

    row_wise = True
    columns: list[str]
    words: list[str]
    path: str | None

    def __call__(self, splits: Splits) -> Splits:
        words = sorted({word.casefold() for word in [*self.words, *self._words_of_file()]})
        if not words:
            raise ConfigError("RemoveStopWords: give words, or the path of a file with one word a line")
        listed = frozenset(words)
        inside = sorted((word for word in words if _UNSPACED.search(word)), key=len, reverse=True)
        anywhere = re.compile("|".join(map(re.escape, inside)) or "(?!)")

        def without(text: str) -> str:
            # A word is a run of letters, digits, and apostrophes inside it; what is between stays.
            kept = _WORD.sub(lambda match: "" if match[0].casefold() in listed else match[0], text)
            kept = anywhere.sub("", kept)
            return " ".join(kept.split()) if kept != text else text

        key = ["stop words", words, "anywhere"] if inside else ["stop words", words]
        return change_texts(splits, self.columns, without, key=key)

    def _words_of_file(self) -> list[str]:
        if self.path is None:
            return []
        try:
            content = Path(self.path).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the stop words cannot be read: {error}", file=self.path) from error
        return [line.strip() for line in content.splitlines() if line.strip()]


@dataclass(frozen=True, kw_only=True)
class JoinIndicators:
    """A new column `into` with the names of those columns that hold 1 or true, joined by `separator`."""

    row_wise = True
    columns: list[str]
    into: str
    separator: str

    def __call__(self, splits: Splits) -> Splits:
        return join_indicators(splits, self.columns, self.into, self.separator)


@dataclass(frozen=True, kw_only=True)
class DropEmpty:
    """Rows in which any of these columns is null, NaN, blank or an empty list are dropped, not 0 or false."""

    row_wise = True
    columns: list[str]

    def __call__(self, splits: Splits) -> Splits:
        return keep_rows(
            splits,
            self.columns,
            lambda row: not any(map(_is_blank, row)),
            key="drop empty",
        )


@dataclass(frozen=True, kw_only=True)
class FilterLength:
    """Rows are kept where every column has `min` to `max` characters, or words between white space."""

    row_wise = True
    columns: list[str]
    unit: Literal["characters", "words"]
    min: NonNegativeInt
    max: NonNegativeInt | None

    def __call__(self, splits: Splits) -> Splits:
        if self.max is not None and self.max < self.min:
            raise ConfigError(f"FilterLength: max ({self.max}) is below min ({self.min})")
        key = ["length", self.unit, self.min, self.max]
        return keep_rows(splits, self.columns, lambda row: all(self._fits(value) for value in row), key=key)

    def _fits(self, value: Any) -> bool:
        text = text_of(value)
        length = len(text) if self.unit == "characters" else len(text.split())
        return self.min <= length and (self.max is None or length <= self.max)


@dataclass(frozen=True, kw_only=True)
class DropValues:
    """Rows whose `column` holds one of `values` are dropped; compared as they are written, null too."""

    row_wise = True
    column: str
    values: list[Any]

    def __call__(self, splits: Splits) -> Splits:
        unwanted = sorted({as_text(value) for value in self.values})
        return keep_rows(
            splits, [self.column], lambda row: as_text(row[0]) not in unwanted, key=["drop values", unwanted]
        )


@dataclass(frozen=True, kw_only=True)
class DropDuplicates:
    """Of rows with the same values in these columns, splits named in `within` keep the first.

    With `across`, train also loses the rows whose values an evaluation split has, so that those stay as
    published and unseen. Put it after the steps that change text; rows held out later cannot overlap then.
    """

    columns: list[str]
    within: list[str]
    across: bool

    def __call__(self, splits: Splits) -> Splits:
        return drop_repeats(splits, row_keys, self.columns, within=self.within, across=self.across)


# Thai, Lao, Myanmar, Khmer, Japanese kana, Han; none of them puts spaces between words.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def _is_blank(value: Any) -> bool:
    return value in (None, []) or value != value or (isinstance(value, str) and not value.strip())


def _unescape(text: str) -> str:
    while (once := html.unescape(text)) != text:
        text = once
    return text
