"""Differences between two versions of a file in the format of `git diff`, written without git."""

from __future__ import annotations

import difflib
import io
import os
import re
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
    one, other = _quoted(f"a/{name}"), _quoted(f"b/{name}")
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
    return "\n".join([*header, _hunks(before, after)])


def _quoted(name: str) -> str:
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


def _hunks(before: list[str], after: list[str]) -> str:
    # From the first change to the last: one changed line of a long file costs what it does in a short one.
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    tail = next((at for at in range(shorter - head) if before[-1 - at] != after[-1 - at]), shorter - head)
    start, end = max(head - CONTEXT, 0), max(tail - CONTEXT, 0)
    before, after = before[start : len(before) - end], after[start : len(after) - end]
    if len(before) * len(after) <= MAX_COMPARED:
        lines = list(difflib.unified_diff(before, after, n=CONTEXT))[2:]  # without its names
    else:
        lines = [f"@@ -1,{len(before)} +1,{len(after)} @@\n"]
        lines += [f" {line}" for line in before[: head - start]]
        lines += [f"-{line}" for line in before[head - start : len(before) - (tail - end)]]
        lines += [f"+{line}" for line in after[head - start : len(after) - (tail - end)]]
        lines += [f" {line}" for line in before[len(before) - (tail - end) :]]
    for index, line in enumerate(lines):
        if line.startswith("@"):
            lines[index] = re.sub(r"(?<=[-+])\d+", lambda first: str(int(first[0]) + start), line)
        elif not line.endswith("\n"):
            lines[index] = f"{line}\n\\ No newline at end of file\n"
    return "".join(lines)
