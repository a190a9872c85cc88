"""Differences between two versions of a file in the format of `git diff`, written without git."""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

LINK, SUBMODULE = "120000", "160000"
CONTEXT = 3  # unchanged lines around each change
# Lines before times lines after, without those that begin or end both: difflib takes a second for 3000 lines
# of which every other one is changed. Of more, all are shown as replaced.
MAX_COMPARED = 10_000_000
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A file as a commit or the working tree has it."""

    mode: str  # 100644, 100755 (executable), LINK or SUBMODULE
    oid: str  # git's hash of the content; of a submodule its commit
    content: bytes | None = None  # None: only the hash is shown


def file_diff(name: str, old: Version | None, new: Version | None) -> str:
    """The changes of one file, for `git apply`; one version is None where the file is new or gone.

    Content that is not UTF-8 text, or that is left out, is shown as its hashes: `Binary files … differ`.
    """
    if old and new and old.mode[:3] != new.mode[:3]:  # a link in the place of a file: both in full
        return file_diff(name, old, None) + file_diff(name, None, new)
    one, other = quoted(f"a/{name}"), quoted(f"b/{name}")
    header = [f"diff --git {one} {other}"]
    if old and new and old.mode != new.mode:
        header += [f"old mode {old.mode}", f"new mode {new.mode}"]
    elif new and not old:
        header, one = [*header, f"new file mode {new.mode}"], "/dev/null"
    elif old and not new:
        header, other = [*header, f"deleted file mode {old.mode}"], "/dev/null"
    if old and new and old.oid == new.oid:
        return "\n".join([*header, ""])
    oids = "..".join(version.oid if version else "0" * 40 for version in (old, new))
    header.append(f"index {oids} {old.mode}" if old and new and old.mode == new.mode else f"index {oids}")
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        return "\n".join([*header, f"Binary files {one} and {other} differ", ""])
    if before or after:
        tab = "\t" if " " in name else ""  # ends a name that holds blanks
        header += [f"--- {one}{tab if old else ''}", f"+++ {other}{tab if new else ''}"]
    return "\n".join([*header, "".join(_hunks(before, after))])


def quoted(name: str) -> str:
    """A file's name as git writes it: in quotes, with escapes, if it is not UTF-8 or not on one line."""
    if not re.search(r'[\x00-\x1f\x7f"\\\ud800-\udfff]', name):
        return name
    codes = os.fsencode(name)
    plain = (_ESCAPES.get(code) or (chr(code) if 32 <= code < 127 else f"\\{code:03o}") for code in codes)
    return f'"{"".join(plain)}"'


def _lines(version: Version | None) -> list[str] | None:
    if version is None or version.mode == SUBMODULE:
        return [f"Subproject commit {version.oid}\n"] if version else []
    if version.content is None or b"\0" in version.content:
        return None
    try:
        return [line.decode() for line in io.BytesIO(version.content)]  # no other line ends than \n
    except UnicodeDecodeError:
        return None


def _hunks(before: list[str], after: list[str]) -> Iterator[str]:
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    tail = next((at for at in range(shorter - head) if before[-1 - at] != after[-1 - at]), shorter - head)
    start, end = max(head - CONTEXT, 0), max(tail - CONTEXT, 0)
    one, other = before[start : len(before) - end], after[start : len(after) - end]
    first, last = head - start, tail - end  # lines of context
    if len(one) * len(other) <= MAX_COMPARED:
        groups = difflib.SequenceMatcher(None, one, other).get_grouped_opcodes(CONTEXT)
    else:
        ends = len(one) - last, len(other) - last
        whole = [
            ("equal", 0, first, 0, first),
            ("replace", first, ends[0], first, ends[1]),
            ("equal", ends[0], len(one), ends[1], len(other)),
        ]
        groups = iter([whole])
    for group in groups:
        ranges = _range(group[0][1], group[-1][2], start), _range(group[0][3], group[-1][4], start)
        yield f"@@ -{ranges[0]} +{ranges[1]} @@\n"
        for kind, *places in group:
            if kind == "equal":
                yield from _marked(" ", one[places[0] : places[1]])
                continue
            yield from _marked("-", one[places[0] : places[1]])
            yield from _marked("+", other[places[2] : places[3]])


def _range(begin: int, end: int, offset: int) -> str:
    count = end - begin
    first = offset + begin + (count > 0)  # of no lines: the line before them
    return f"{first}" if count == 1 else f"{first},{count}"


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
