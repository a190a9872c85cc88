"""Questions to git whose answers run nothing that a repository configures.

`git diff` and `git status` run the filters, text converters and monitors that `.git/config` names, and that
file may be somebody else's. Names, hashes, settings, attributes and contents are given without them.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path

from runwright.tracker.unified_diff import Version

TIMEOUT_SECONDS = 10  # for each answer
MAX_SHOWN_BYTES = 2_000_000  # of a version of a file; a larger one is shown as its hash
MAX_ALL_SHOWN_BYTES = 20_000_000
# No transports: an object that a partial clone lacks is fetched by commands that its configuration names.
# GIT_NO_LAZY_FETCH says the same to git 2.44 and later.
_ENVIRONMENT = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}


class GitError(Exception):
    """Git gave no answer; the text is its reason."""


class Git:
    """The git command in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of the command; raises GitError where it fails."""
        # Locks are optional: a run that only looks must not disturb a commit in progress.
        options = ["--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(self._folder)]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                ["git", *options, *arguments],  # noqa: S607 - found as every other tool of the user's
                input=stdin,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
                env=os.environ | _ENVIRONMENT,
            )
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {arguments[0]} took more than {TIMEOUT_SECONDS} seconds") from error
        except OSError as error:
            raise GitError(str(error)) from error
        if done.returncode != 0:
            reason = ascii(done.stderr.decode(errors="replace").partition("\n")[0])[1:-1]
            raise GitError(reason or f"git {arguments[0]} ended with {done.returncode}")
        return done.stdout

    def ask_names(self, *arguments: str, stdin: bytes = b"") -> list[str]:
        """Fields of an answer that each end with a zero byte."""
        return [os.fsdecode(field) for field in self.ask(*arguments, stdin=stdin).split(b"\0")[:-1]]

    def committed(self, commit: str) -> dict[str, Version]:
        """The files of a commit, by name."""
        lines = self.ask_names("ls-tree", "-r", "-z", "--full-tree", commit)
        entries = (line.partition("\t") for line in lines)
        return {name: Version(mode=facts[:6], oid=facts.split()[2]) for facts, _, name in entries}

    def staged(self) -> tuple[dict[str, Version], set[str]]:
        """The files of the index, by name, and those of them that a sparse checkout leaves out."""
        files, left_out = {}, set()
        for line in self.ask_names("ls-files", "-t", "-s", "-z"):
            facts, _, name = line.partition("\t")
            tag, mode, oid, _ = facts.split()
            files[name] = Version(mode=mode, oid=oid)
            left_out |= {name} if tag == "S" else set()
        return files, left_out

    def settings(self) -> dict[str, str]:
        """The configuration, keys in small letters; a key alone has an empty value, which means true."""
        lines = self.ask_names("config", "--list", "-z")
        return {key: value.lower() for key, _, value in (line.partition("\n") for line in lines)}

    def converted(self, names: Iterable[str], settings: Mapping[str, str]) -> set[str]:
        """The files whose line ends become those of Unix when git takes them in."""
        stdin = b"".join(os.fsencode(name) + b"\0" for name in names)
        answer = self.ask_names("check-attr", "-z", "--stdin", "text", "eol", stdin=stdin)
        text = dict(zip(answer[::6], answer[2::6], strict=True))
        ends = dict(zip(answer[3::6], answer[5::6], strict=True))
        by_default = settings.get("core.autocrlf", "false") in ("", "true", "yes", "on", "1", "input")
        return {
            name
            for name, kind in text.items()
            if kind in ("set", "auto")
            or (kind == "unspecified" and (by_default or ends[name] in ("lf", "crlf")))
        }

    def contents(self, commit: str, oids: Iterable[str]) -> tuple[dict[str, bytes], set[str]]:
        """The contents of files of a commit by their hash, and the hashes of those that this clone lacks.

        Large ones are left out, and the largest of too many.
        """
        # Asked for first: git 2.39 ends at the first object that a partial clone lacks.
        answer = self.ask("rev-list", "--objects", "--no-walk", "--missing=print", commit)
        lacking = {line[1:].decode() for line in answer.split(b"\n") if line.startswith(b"?")}
        stdin = "".join(f"{oid}\n" for oid in set(oids) - lacking).encode()
        answer = self.ask("cat-file", "--batch-check=%(objectsize) %(objectname)", stdin=stdin)
        sizes = sorted((int(size), oid.decode()) for size, oid in map(bytes.split, answer.splitlines()))
        ends = accumulate(size for size, _ in sizes)
        shown = [
            oid
            for (size, oid), end in zip(sizes, ends, strict=True)
            if size <= MAX_SHOWN_BYTES and end <= MAX_ALL_SHOWN_BYTES
        ]
        answer = self.ask("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in shown).encode())
        contents = io.BytesIO(answer)
        # A line with hash, kind and size, the content, and the end of a line.
        return {oid: contents.read(int(contents.readline().split()[-1]) + 1)[:-1] for oid in shown}, lacking
