"""Cleaning steps that rewrite parts of texts: by a map of the user's own, by a pattern, without markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from runwright.dataset.cleaning.passes import TextStep
from runwright.errors import ConfigError, DataError

_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
_UNSEEN = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MapCharacters(TextStep):
    """Replace characters or longer pieces by the file `path`: a line `old<tab>new` for each, UTF-8.

    The longest piece counts, what was replaced is not looked at again, and an empty `new` removes. With
    `first_word` the new one ends at the first space, as in tables that list several choices.
    """

    path: str
    first_word: bool

    def change(self, text: str) -> str:
        return self._replace(text)

    @property
    def key(self) -> Any:
        return ["characters", sorted(self._pairs.items())]

    @cached_property
    def _replace(self) -> Callable[[str], str]:
        return replacer(self._pairs)

    @cached_property
    def _pairs(self) -> dict[str, str]:
        try:
            content = Path(self.path).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the map of characters cannot be read: {error}", file=self.path) from error
        pairs: dict[str, str] = {}
        for number, line in enumerate(content.split("\n"), start=1):
            line = line.removesuffix("\r")
            if not line:
                continue
            old, tab, new = line.partition("\t")
            new = new.partition(" ")[0] if self.first_word else new
            if not tab or not old:
                raise DataError(f"line {number}: expected old<tab>new, given {line!r}", file=self.path)
            if pairs.setdefault(old, new) != new:
                raise DataError(
                    f"line {number}: {old!r} becomes {new!r} here and {pairs[old]!r} before", file=self.path
                )
        if not pairs:
            raise DataError("the map of characters is empty", file=self.path)
        return pairs


@dataclass(frozen=True, kw_only=True)
class ReplacePattern(TextStep):
    r"""Replace each match of a regular expression by `replacement`, in which \1 is the first group."""

    pattern: str
    replacement: str

    def __post_init__(self) -> None:
        try:
            re.sub(self.pattern, self.replacement, "")
        except (re.error, IndexError) as error:
            raise ConfigError(
                f"ReplacePattern: {self.pattern!r} cannot be replaced by {self.replacement!r}: {error}"
            ) from error

    def change(self, text: str) -> str:
        return re.sub(self.pattern, self.replacement, text)


class RemoveTags(TextStep):
    """HTML tags, comments, scripts and style sheets become a space; a sign like < before a number stays."""

    def change(self, text: str) -> str:
        return _TAG.sub(" ", _UNSEEN.sub(" ", text)) if "<" in text else text


def replacer(pairs: dict[str, str]) -> Callable[[str], str]:
    """A function that replaces the keys in a text by their values, the longest first, in one pass."""
    if all(len(old) == 1 for old in pairs):
        table = str.maketrans(pairs)
        return lambda text: text.translate(table)
    longest_first = sorted(pairs, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(lambda match: pairs[match[0]], text)
