"""Texts that look wrong: markup, garbled characters, links alone, scripts that do not belong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers

VERY_LONG = 10_000  # characters
SCRIPT_CHARACTERS = 2000  # of each text, enough to tell its script

# What UTF-8 looks like when it was read as Latin-1 or Windows-1252: a leading byte, then trailing ones.
_TRAIL = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_GARBLED = f"[Â-ô][{_TRAIL}]"
_SURE = re.compile(f"Ã[{_TRAIL}]|Â[\xa0-\xbf]|â€[{_TRAIL}]|ï¿½|ï»¿")
_RUN = re.compile(f"[Â-ß][{_TRAIL}]|[à-ï][{_TRAIL}]{{2}}|[ð-ô][{_TRAIL}]{{3}}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Oddity:
    """One way in which a text looks wrong."""

    name: str
    says: str  # "N texts of SPLIT …"
    hint: str
    pattern: str = ""  # of RE2; the texts that it finds
    surely: Callable[[str], bool] | None = None  # looks again at what the pattern found


def is_garbled(text: str) -> bool:
    """Whether a text was decoded with the wrong encoding, or has characters that could not be decoded."""
    if "\ufffd" in text or _SURE.search(text):
        return True
    return len(_RUN.findall(text)) > 1 and _decodes(text)


def _decodes(text: str) -> bool:
    runs = "".join(_RUN.findall(text))
    try:
        return runs.encode("cp1252").decode("utf-8") != runs
    except UnicodeError:
        try:
            return runs.encode("latin-1").decode("utf-8") != runs
        except UnicodeError:
            return False


_LINK = r"(https?://|www\.)\S+"
ODDITIES = (
    Oddity(name="empty", says="are empty", hint="DropEmpty drops them"),
    Oddity(
        name="garbled",
        says="look garbled, as read in the wrong encoding",
        hint="dataset.source.encoding is the file's own, or the source is damaged",
        pattern=f"\ufffd|{_GARBLED}",
        surely=is_garbled,
    ),
    Oddity(name="tags", says="have HTML tags", hint="RemoveTags removes them", pattern=r"</?[A-Za-z][^<>]*>"),
    Oddity(
        name="entities",
        says="have HTML entities",
        hint="UnescapeHtml turns them into characters",
        pattern=r"&(#\d{1,6}|#x[0-9a-fA-F]{1,5}|[A-Za-z]{2,8});",
    ),
    Oddity(
        name="links",
        says="are links and nothing else",
        hint="FilterPattern with keep: false drops them",
        pattern=rf"^\s*{_LINK}(\s+{_LINK})*\s*$",
    ),
    Oddity(
        name="controls",
        says="have control characters",
        hint="ReplacePattern removes them",
        pattern=r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    ),
    Oddity(
        name="invisible",
        says="have invisible characters (zero width, direction marks)",
        hint="ReplacePattern removes them",
        pattern="[\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]",
    ),
    Oddity(
        name="mixed_alphabets",
        says="mix Latin with Cyrillic or Greek letters within a word",
        hint="look-alike letters are other tokens; MapCharacters makes them the same",
        pattern=r"[A-Za-z][\x{0370}-\x{04ff}]|[\x{0370}-\x{04ff}][A-Za-z]",
    ),
    Oddity(
        name="very_long",
        says=f"have more than {VERY_LONG:,} characters",
        hint="FilterLength drops them; is a quote not closed?",
    ),
)


def find_odd(texts: pa.Array) -> dict[str, np.ndarray]:
    """Positions of the texts that have each oddity; nulls have none."""
    found: dict[str, np.ndarray] = {}
    for oddity in ODDITIES:
        if oddity.name == "empty":  # RE2's white space is that of ASCII
            hits = pc.equal(pc.utf8_trim_whitespace(texts), "")
        elif oddity.name == "very_long":
            hits = pc.greater(pc.utf8_length(texts), VERY_LONG)
        else:
            hits = pc.match_substring_regex(texts, oddity.pattern)
        places = np.flatnonzero(pc.fill_null(hits, False).to_numpy(zero_copy_only=False))  # noqa: FBT003
        if oddity.surely is not None:
            places = np.array([n for n in places.tolist() if oddity.surely(texts[n].as_py())], dtype=np.int64)
        if len(places):
            found[oddity.name] = places
    return found


# --- scripts ------------------------------------------------------------------------------------------

_RANGES = {
    "Latin": [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF)],
    "Greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "Cyrillic": [(0x400, 0x52F)],
    "Armenian": [(0x531, 0x58F)],
    "Hebrew": [(0x5D0, 0x5F4)],
    "Arabic": [(0x620, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)],
    "Indic": [(0x900, 0xDFF)],
    "Thai": [(0xE01, 0xE3A), (0xE40, 0xE4E)],
    "Georgian": [(0x10A0, 0x10FF)],
    "Hangul": [(0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7A3)],
    "Kana": [(0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)],
    "Han": [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)],
}
SCRIPTS = ("none", *_RANGES)
_TABLE_SIZE = 0x32400


def _table() -> np.ndarray:
    table = np.zeros(_TABLE_SIZE, dtype=np.uint8)
    for number, ranges in enumerate(_RANGES.values(), start=1):
        for first, last in ranges:
            table[first : last + 1] = number
    return table


_TABLE = _table()


def main_scripts(texts: Sequence[str]) -> np.ndarray:
    """The script of most letters of each text, a place in SCRIPTS, [N] int64; 0: it has no letters.

    Texts with kana are counted as kana, whatever their share: Japanese has Han characters too.
    """
    cut = [text[:SCRIPT_CHARACTERS] for text in texts]
    codes = np.frombuffer("".join(cut).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    rows = np.repeat(np.arange(len(cut)), [len(text) for text in cut])
    scripts = _TABLE[np.minimum(codes, _TABLE_SIZE - 1)].astype(np.int64)
    flat = np.bincount(rows * len(SCRIPTS) + scripts, minlength=len(cut) * len(SCRIPTS))
    counts = flat.reshape(len(cut), len(SCRIPTS))
    counts[:, 0] = 0
    kana, han = SCRIPTS.index("Kana"), SCRIPTS.index("Han")
    counts[:, kana] += np.where(counts[:, kana] > 0, counts[:, han], 0)
    return counts.argmax(axis=1)
