"""Words with tags as text, and text as words: where each begins and ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby

Span = tuple[int, int]  # first character, one past the last


def _marks() -> str:
    """What belongs to the character before it, for a pattern: vowel signs, accents, joiners."""
    # Planes 2 and 3 have none (Unicode 16).
    codes = [code for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)) if _is_mark(chr(code))]
    runs = [[code for _, code in run] for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)  # as single characters four times slower


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or character in "\u200c\u200d"


_MARKS = _marks()
_WORD = re.compile(rf"\w+(?:[{_MARKS}]+\w*)*(?:[.,]\d+[{_MARKS}]*)*|[^\w\s][{_MARKS}]*")


def trimmed(text: str, start: int, end: int) -> Span:
    """The characters without the spaces around them, which some tokenizers count to their pieces."""
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())


def join_words(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The words with a space between them, and where each lies in it."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), spans


def split_words(text: str) -> list[Span]:
    """Where the words of a text lie: runs of letters and digits, and each other character but spaces.

    Numbers keep their points and commas, and every character the marks that combine with it.
    """
    return [match.span() for match in _WORD.finditer(text)]


def word_of_pieces(pieces: Sequence[Span], words: Sequence[Span]) -> list[int]:
    """The word in which each piece of a tokenizer begins, -1 where it covers none.

    Both are in the order of the text. A piece may begin with the space before its word.
    """
    found, word = [], 0
    for start, end in pieces:
        while word < len(words) and words[word][1] <= start:
            word += 1
        covered = word < len(words) and words[word][0] < end and start < end
        found.append(word if covered else -1)
    return found
