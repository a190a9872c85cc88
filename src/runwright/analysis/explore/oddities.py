"""Texts that look wrong: markup, garbled characters, links alone, look-alike letters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

VERY_LONG = 10_000  # characters

# UTF-8 that was read as Latin-1 or Windows-1252: a leading byte, then trailing ones. Of Latin letters, signs
# and emoji one is enough; of other characters two in a row, as in any word.
_TRAIL = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_GARBLED = (
    f"Ã{_TRAIL}|Â[\xa0-\xbf]|â[\x80\x82\x84€‚„]{_TRAIL}|ð{_TRAIL}{{3}}|ï¿½|ï»¿"
    f"|(?:[Â-ß]{_TRAIL}|[à-ï]{_TRAIL}{{2}}){{2}}"
)


class Oddity(NamedTuple):
    """One way in which a text looks wrong."""

    name: str
    says: str  # "N texts of SPLIT …"
    hint: str
    pattern: str = ""  # of RE2; matches the texts


_LINK = r"(https?://|www\.)\S+"
ODDITIES = (
    Oddity("empty", "are empty", "DropEmpty drops them"),
    Oddity(
        "garbled",
        "look garbled, as read in the wrong encoding",
        "dataset.source.encoding is the file's own, or the source is damaged",
        f"\ufffd|{_GARBLED}",
    ),
    Oddity("tags", "have HTML tags", "RemoveTags removes them", r"</?[A-Za-z][^<>]*>"),
    Oddity(
        "entities",
        "have HTML entities",
        "UnescapeHtml turns them into characters",
        r"&(#\d{1,6}|#x[0-9a-fA-F]{1,5}|[A-Za-z]{2,8});",
    ),
    Oddity(
        "links",
        "are links and nothing else",
        "FilterPattern with keep: false drops them",
        rf"^\s*{_LINK}(\s+{_LINK})*\s*$",
    ),
    Oddity(
        "controls",
        "have control characters",
        "ReplacePattern removes them",
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    ),
    Oddity(
        "invisible",
        "have invisible characters (zero width, direction marks)",
        "ReplacePattern removes them",
        "[\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]",
    ),
    Oddity(
        "mixed_alphabets",
        "mix Latin with Cyrillic or Greek letters within a word",
        "look-alike letters are other tokens; MapCharacters makes them the same",
        r"[A-Za-z][\x{0370}-\x{04ff}]|[\x{0370}-\x{04ff}][A-Za-z]",
    ),
    Oddity(
        "very_long",
        f"have more than {VERY_LONG:,} characters",
        "FilterLength drops them; is a quote not closed?",
    ),
)


def find_odd(texts: pa.Array) -> dict[str, np.ndarray]:
    """Positions of the texts that have each oddity; nulls have none."""
    odd: dict[str, np.ndarray] = {}
    for oddity in ODDITIES:
        if oddity.name == "empty":  # RE2's white space is that of ASCII
            hits = pc.equal(pc.utf8_trim_whitespace(texts), "")
        elif oddity.name == "very_long":
            hits = pc.greater(pc.utf8_length(texts), VERY_LONG)
        else:
            hits = pc.match_substring_regex(texts, oddity.pattern)
        positions = np.flatnonzero(pc.fill_null(hits, False).to_numpy(zero_copy_only=False))  # noqa: FBT003
        if len(positions):
            odd[oddity.name] = positions
    return odd
