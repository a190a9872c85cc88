"""A folder's git repository: its commit, and its files where they differ from it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BufferedReader
from itertools import islice
from pathlib import Path, PurePosixPath

from runwright.tracker.git import MAX_ALL_SHOWN_BYTES, MAX_SHOWN_BYTES, Git, GitError
from runwright.tracker.source_files import open_regular
from runwright.tracker.unified_diff import LINK, SUBMODULE, Version, file_diff

logger = logging.getLogger(__name__)

MAX_UNTRACKED = 2000  # files; of source code there are fewer, and data belongs into its own fingerprint
MAX_UNTRACKED_BYTES = 20_000_000
MAX_TRACKED_BYTES = 100_000_000  # GitHub's limit of a file; a larger one is named, not read
MAX_SECONDS = 10  # of reading files
_LFS_POINTER = re.compile(rb"(version https://git-lfs\.\S+\n(?:.*\n)*oid sha256:)[0-9a-f]{64}(\nsize )\d+\n")
MAX_POINTER_BYTES = 1024  # Git LFS's own limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """The git repository of a folder, and its files where they differ from the commit."""

    root: Path
    commit: str | None  # None before the first one: every tracked file is new
    branch: str | None
    diff: str = ""  # of tracked files against the commit, for `git apply`
    not_compared: list[str] = field(default_factory=list)  # tracked files, each with the reason
    untracked: dict[str, str] = field(default_factory=dict)  # sha256 by name; what git ignores is left out


def read_repository(folder: Path, *, but: Path | None = None) -> Repository | None:
    """The repository around a folder; None outside of one, and, with a warning, where git refuses to read it.

    Untracked files in the folder `but` are left out.
    """
    folder = folder.resolve()
    parents = (folder, *folder.parents)
    expected = next((parent for parent in parents if os.path.lexists(parent / ".git")), None)
    is_named = "GIT_DIR" in os.environ or "GIT_WORK_TREE" in os.environ  # by the user
    if expected is None and not is_named:
        return None
    git = Git(folder)
    try:
        root = Path(os.fsdecode(git.ask("rev-parse", "--show-toplevel")).removesuffix("\n"))
        # `core.worktree` could name the user's home, whose files would be listed, and copied, as untracked.
        if expected is not None and not is_named and not root.samefile(expected):
            raise GitError(f"the repository in {expected} names another working tree")
        commit = git.ask("rev-parse", "--revs-only", "HEAD").decode().strip() or None
        branch = git.ask("branch", "--show-current").decode(errors="backslashreplace").strip() or None
    except (GitError, OSError) as error:
        logger.warning("git: %s; this run records no commit", error)
        return None
    repository = Repository(root=root, commit=commit, branch=branch)
    try:
        repository = replace(repository, untracked=_untracked(root, but))
        tree = _WorkingTree(root, commit)
        return replace(repository, diff="".join(tree.diffs()), not_compared=tree.not_compared)
    except GitError as error:  # a damaged index, say
        return replace(repository, not_compared=[f"all files ({error})"])


def _untracked(root: Path, but: Path | None) -> dict[str, str]:
    deadline = time.monotonic() + MAX_SECONDS
    names = Git(root).ask_names("ls-files", "--others", "--exclude-standard", "-z")
    outside = (name for name in sorted(names) if not (but and (root / name).is_relative_to(but)))
    return {_as_utf8(name): _digest(root / name, deadline) for name in islice(outside, MAX_UNTRACKED)}


def _digest(path: Path, deadline: float) -> str:
    """The sha256 of a file, or of where a link leads: what lies there is no file of the project."""
    try:
        if path.is_symlink():
            return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_UNTRACKED_BYTES:
                return f"not read: {size} bytes"
            if time.monotonic() > deadline:
                return f"not read within {MAX_SECONDS} seconds"
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _as_utf8(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


class _NotComparedError(Exception):
    """A file is not compared; the text is the reason."""


class _WorkingTree:
    """The tracked files of a folder, compared with those of a commit."""

    def __init__(self, root: Path, commit: str | None) -> None:
        self.not_compared: list[str] = []  # complete after `diffs`
        self._git, self._root, self._commit = Git(root), root, commit
        self._deadline = time.monotonic() + MAX_SECONDS
        self._settings = self._git.settings()
        self._algorithm = self._git.ask("rev-parse", "--show-object-format").decode().strip()
        self._folders: dict[PurePosixPath, bool] = {}  # False: a link, or no folder

    def diffs(self) -> Iterator[str]:
        """Yield the difference of each changed file.

        Two of git's conversions are made here too: of line ends, where attributes or `core.autocrlf` ask for
        it, and of Git LFS, whose files are committed as pointers. Other filters are programs, which are not
        run: what they change is a difference.
        """
        changed = self._changed()
        files = [name for name, (_, new) in changed.items() if new and new.mode not in (LINK, SUBMODULE)]
        converted = self._git.converted(files, self._settings) if files else set()
        oids = {old.oid for old, _ in changed.values() if old and old.mode != SUBMODULE}
        contents, lacking = self._git.contents(self._commit, oids) if self._commit and oids else ({}, set())
        length = 0
        for name, (committed, present) in changed.items():
            if committed and committed.oid in lacking:
                self._leave_out(name, "its committed content is not in this clone")
            old = committed and replace(committed, content=contents.get(committed.oid))
            try:
                new = present and self._as_committed(name, present, old, is_converted=name in converted)
            except _NotComparedError as error:
                self._leave_out(name, str(error))
                continue
            if _state(old) == _state(new):
                continue
            if length > MAX_ALL_SHOWN_BYTES:
                old, new = (version and replace(version, content=None) for version in (old, new))
            diff = file_diff(name, old, new)
            length += len(diff)
            yield diff

    def _changed(self) -> dict[str, tuple[Version | None, Version | None]]:
        """The committed and the present version of each file whose bytes or mode differ."""
        committed = self._git.committed(self._commit) if self._commit else {}
        staged, sparse = self._git.staged()
        changed = {}
        for name in sorted({*committed, *staged}):
            try:
                new = self._version(name, staged.get(name), is_sparse=name in sparse)
            except _NotComparedError as error:
                self._leave_out(name, str(error))
                continue
            if _state(committed.get(name)) != _state(new):
                changed[name] = committed.get(name), new
        return changed

    def _leave_out(self, name: str, reason: str) -> None:
        self.not_compared.append(f"{_as_utf8(name)} ({reason})")

    def _version(self, name: str, staged: Version | None, *, is_sparse: bool) -> Version | None:
        """The file as it is now, without its content; None where it is gone or no longer tracked."""
        if any(folder.lower() in ("", ".", "..", ".git") for folder in name.split("/")):
            raise _NotComparedError("no name of a file inside the repository")
        if staged is None:
            return None
        path = self._root / name
        if staged.mode == SUBMODULE:  # by its recorded commit: its files are those of another repository
            if os.path.lexists(path / ".git"):
                self._leave_out(name, "files of a submodule")
            return staged
        try:
            kind = path.lstat().st_mode if self._is_in_folders(name) else 0
            if stat.S_ISLNK(kind):
                return Version(mode=LINK, oid=self._hash(os.fsencode(path.readlink())))
            if not stat.S_ISREG(kind):
                return staged if is_sparse else None
        except FileNotFoundError:
            return staged if is_sparse else None
        except OSError as error:
            raise _NotComparedError(f"unreadable: {error.strerror}") from error
        with self._open(name) as file:
            status = os.fstat(file.fileno())
            hasher = self._hasher(status.st_size)
            oid = hashlib.file_digest(file, lambda: hasher).hexdigest()
        if self._settings.get("core.filemode") in ("false", "no", "off", "0"):  # a file system without modes
            return Version(mode="100644" if staged.mode == LINK else staged.mode, oid=oid)
        return Version(mode="100755" if status.st_mode & stat.S_IXUSR else "100644", oid=oid)

    @contextmanager
    def _open(self, name: str) -> Iterator[BufferedReader]:
        """The file opened for reading, while there is time; raises _NotComparedError."""
        if time.monotonic() > self._deadline:
            raise _NotComparedError(f"not read within {MAX_SECONDS} seconds")
        try:
            with open_regular(self._root / name) as file:
                if os.fstat(file.fileno()).st_size > MAX_TRACKED_BYTES:
                    raise _NotComparedError(f"more than {MAX_TRACKED_BYTES:,} bytes")
                yield file
        except OSError as error:
            raise _NotComparedError(f"unreadable: {error.strerror}") from error

    def _is_in_folders(self, name: str) -> bool:
        """Return True if none of the folders above a file is a link, which may lead anywhere."""
        for folder in reversed(PurePosixPath(name).parents[:-1]):
            if folder not in self._folders:
                self._folders[folder] = stat.S_ISDIR((self._root / folder).lstat().st_mode)
            if not self._folders[folder]:
                return False
        return True

    def _hasher(self, size: int) -> hashlib._Hash:
        return hashlib.new(self._algorithm, b"blob %d\0" % size, usedforsecurity=False)

    def _hash(self, content: bytes) -> str:
        hasher = self._hasher(len(content))
        hasher.update(content)
        return hasher.hexdigest()

    def _content(self, name: str, version: Version) -> bytes | None:
        """The content of a file or link; None where it is too long to be shown."""
        try:
            if version.mode == LINK:
                return os.fsencode((self._root / name).readlink())
            with open_regular(self._root / name) as file:
                return file.read() if os.fstat(file.fileno()).st_size <= MAX_SHOWN_BYTES else None
        except OSError:
            return None

    def _as_committed(self, name: str, new: Version, old: Version | None, *, is_converted: bool) -> Version:
        """The present version as git would commit it; with its content, unless that is long or it is late."""
        committed = (old and old.content) or b""
        pointer = _LFS_POINTER.fullmatch(committed) if len(committed) <= MAX_POINTER_BYTES else None
        if new.mode == SUBMODULE or (not pointer and time.monotonic() > self._deadline):
            return new
        content = self._content(name, new)
        if pointer and new.mode != LINK and not _LFS_POINTER.fullmatch(content or b""):
            with self._open(name) as file:
                size = os.fstat(file.fileno()).st_size
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            content = pointer[1] + digest.encode() + pointer[2] + b"%d\n" % size
        elif is_converted and content and b"\r\n" not in committed and b"\0" not in content:
            content = content.replace(b"\r\n", b"\n")
        return new if content is None else replace(new, content=content, oid=self._hash(content))


def _state(version: Version | None) -> tuple[str, str] | None:
    return version and (version.mode, version.oid)
