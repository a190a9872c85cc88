"""Words with tags as text, and text as words: where each begins and ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

Span = tuple[int, int]  # first character, one past the last

_WORD = re.compile(r"\w+(?:[.,]\d+)*|[^\w\s]")


def join_words(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The words with a space between them, and where each lies in it."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), spans


def split_words(text: str) -> list[Span]:
    """Where the words of a text lie: runs of letters and digits, and each other character but spaces.

    Numbers keep their points and commas.
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
