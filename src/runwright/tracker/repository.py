"""A folder's git repository: its commit, and its files where they differ from it; nothing of it is run.

`git diff` and `git status` run the filters, text converters and monitors that `.git/config` names, and that
file may be somebody else's. So the difference is taken in a repository of our own in a temporary folder, with
the same objects and files but without its configuration, its hooks and names that lead out of it.
"""

import logging
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from runwright.config.redaction import is_secret_name

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10  # for each answer of git
# No transports: an object that a partial clone lacks is fetched by commands that its configuration names.
# GIT_NO_LAZY_FETCH says the same to git 2.44 and later.
_NO_FETCH = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}
# Files that git does not track are part of the code where they are of these kinds, and small.
SOURCE_SUFFIXES = (".py", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".sh")
MAX_SOURCE_BYTES, MAX_SOURCES = 200_000, 500
MAX_TRACKED_BYTES = 100_000_000  # GitHub's limit of a file; a larger one is named, not read
MAX_SHOWN_BYTES = 2_000_000  # of a version of a file; a larger one is shown as its hash
SUBMODULE = "160000"  # its mode
# Settings that decide what counts as a difference and that cannot name a program.
SETTINGS = ("core.autocrlf", "core.eol", "core.filemode")


class GitError(Exception):
    """Git gave no answer; the text is its reason."""


class Git:
    """The git command in a folder; `settings` are added to its configuration as `key=value`."""

    def __init__(
        self, folder: Path, *, settings: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self.settings = folder, settings
        self._environment = {**(os.environ if environment is None else environment), **_NO_FETCH}

    def ask(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of the command; raises GitError where it fails."""
        # Locks are optional: a run that only looks must not disturb a commit in progress.
        options = ["--no-optional-locks", "-C", str(self._folder)]
        options += [word for setting in ("core.fsmonitor=false", *self.settings) for word in ("-c", setting)]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                ["git", *options, *arguments],  # noqa: S607 - found as every other tool of the user's
                input=stdin,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {arguments[0]} took more than {TIMEOUT_SECONDS} seconds") from error
        except OSError as error:
            raise GitError(str(error)) from error
        if done.returncode != 0:
            reason = ascii(done.stderr.decode(errors="replace").partition("\n")[0])[1:-1]
            raise GitError(reason or f"git {arguments[0]} ended with {done.returncode}")
        return done.stdout

    def ask_line(self, *arguments: str) -> str:
        """The one line of an answer; empty where there is none."""
        return os.fsdecode(self.ask(*arguments)).removesuffix("\n")

    def ask_fields(self, *arguments: str, stdin: bytes = b"") -> list[str]:
        """Fields of an answer that each end with a zero byte."""
        return [os.fsdecode(field) for field in self.ask(*arguments, stdin=stdin).split(b"\0")[:-1]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """The git repository of a folder, and its files where they differ from the commit."""

    root: Path
    commit: str | None  # None before the first one: every file is new
    branch: str | None
    diff: str  # of tracked files, and of sources that are not, against the commit, for `git apply`
    not_compared: list[str]  # tracked files, each with the reason


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
        root = Path(git.ask_line("rev-parse", "--show-toplevel"))
        # `core.worktree` could name the user's home, whose files would be compared as sources.
        if expected is not None and not is_named and not root.samefile(expected):
            raise GitError(f"the repository in {expected} names another working tree")
        commit = git.ask_line("rev-parse", "--revs-only", "HEAD") or None
        branch = _as_utf8(git.ask_line("branch", "--show-current")) or None
    except (GitError, OSError) as error:
        logger.warning("git: %s; this run records no commit", error)
        return None
    try:
        diff, not_compared = _compare(Git(root), root, commit, but=but)
    except (GitError, OSError) as error:  # a damaged index, say
        diff, not_compared = "", [f"all files ({error})"]
    return Repository(root=root, commit=commit, branch=branch, diff=diff, not_compared=not_compared)


def _as_utf8(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _compare(git: Git, root: Path, commit: str | None, *, but: Path | None) -> tuple[str, list[str]]:
    """The difference of files from the commit, and the tracked files left out of it, each with the reason.

    Line ends are converted as git does. Filters are programs and not run: what they change is a difference.
    """
    with tempfile.TemporaryDirectory(prefix="runwright-git-") as temporary:
        shadow = _shadow_repository(git, root, Path(temporary))
        # Entries of empty files, from which the working tree differs.
        entry = f"100644 {shadow.ask_line('hash-object', '--stdin')}\t"
        new = _joined(f"{entry}{name}" for name in _new_sources(git, root, but))
        shadow.ask("update-index", "-z", "--index-info", stdin=new)
        lines = (line.partition("\t") for line in shadow.ask_fields("ls-files", "-t", "-s", "-z"))
        index = {name: fields.split() for fields, _, name in lines}  # tag, mode, …
        for name in index:
            if any(folder.lower() in ("", ".", "..", ".git") for folder in name.split("/")):
                raise GitError(f"{name!a} is no name of a file inside the repository")
        # Whatever the user told git to take for unchanged: it may be source code that runs.
        shadow.ask("update-index", "--no-assume-unchanged", "-z", "--stdin", stdin=_joined(index))
        present = [name for name, (tag, *_) in index.items() if tag == "S" and os.path.lexists(root / name)]
        shadow.ask("update-index", "--no-skip-worktree", "-z", "--stdin", stdin=_joined(present))
        shadow.ask("update-index", "-q", "--refresh")
        tree = commit or shadow.ask_line("hash-object", "-t", "tree", "--stdin")
        submodules = [name for name, (_, mode, *_) in index.items() if mode == SUBMODULE]
        checked_out = [name for name in submodules if os.path.lexists(root / name / ".git")]
        not_compared = dict.fromkeys(checked_out, "files of a submodule")
        diff = _difference(shadow, root, tree, not_compared)
    return diff, [f"{_as_utf8(name)} ({reason})" for name, reason in not_compared.items()]


def _new_sources(git: Git, root: Path, but: Path | None) -> Iterator[str]:
    """Names of small source files that git neither tracks nor ignores; a link may lead to somebody else's."""
    names = sorted(git.ask_fields("ls-files", "--others", "--exclude-standard", "-z"))
    for name in islice((name for name in names if name.endswith(SOURCE_SUFFIXES)), MAX_SOURCES):
        file = root / name
        status = file.lstat()
        is_small = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SOURCE_BYTES
        if is_small and not is_secret_name(file.stem) and not (but and file.is_relative_to(but)):
            yield name


def _shadow_repository(git: Git, root: Path, folder: Path) -> Git:
    """Make a repository without configuration over the same objects, files and index."""
    objects, index = (
        (root / git.ask_line("rev-parse", "--git-path", name)).resolve() for name in ("objects", "index")
    )
    hash_name = git.ask_line("rev-parse", "--show-object-format")
    for name in ("objects/info", "refs"):
        (folder / name).mkdir(parents=True)
    (folder / "objects/info/alternates").write_bytes(os.fsencode(objects) + b"\n")
    for file in (index, *index.parent.glob("sharedindex.*")):
        if file.exists():  # with its time, by which git tells what has changed since
            shutil.copy2(file, folder / file.name)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    config = f"[core]\nrepositoryFormatVersion = 1\n[extensions]\nobjectFormat = {hash_name}\n"
    (folder / "config").write_text(config)
    # A key alone, without a value, means true.
    settings = {line.partition("\n")[0]: line for line in git.ask_fields("config", "--list", "-z")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_DIR": str(folder), "GIT_WORK_TREE": str(root)}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    taken_over = [settings[key].replace("\n", "=", 1) for key in SETTINGS if key in settings]
    return Git(root, settings=taken_over, environment=environment)


def _difference(shadow: Git, root: Path, tree: str, not_compared: dict[str, str]) -> str:
    """The difference of the working tree from the committed one; adds to `not_compared`."""
    # `dirty`: no look inside submodules, since git would run there.
    diff_index = ["diff-index", "--no-renames", "--ignore-submodules=dirty"]
    fields = shadow.ask_fields(*diff_index, "--raw", "-z", tree)
    facts = {name: line[1:].split() for line, name in zip(fields[::2], fields[1::2], strict=True)}
    olds = {name: old for name, (mode, _, old, *_) in facts.items() if mode not in (SUBMODULE, "000000")}
    stdin = "".join(f"{oid}\n" for oid in olds.values()).encode()
    answer = shadow.ask("cat-file", "--batch-check=%(objectname)", stdin=stdin).decode()
    missing = {line.removesuffix(" missing") for line in answer.splitlines() if line.endswith(" missing")}
    filters = shadow.ask_fields("check-attr", "-z", "--stdin", "filter", stdin=_joined(facts))
    pointers = {name for name, value in zip(filters[::3], filters[2::3], strict=True) if value == "lfs"}
    entries = {}  # `mode oid`, as in an index
    for name, (mode, _, old, *_) in facts.items():
        obstacle = _obstacle(root / name)
        if old in missing:  # where a clone is partial
            obstacle = "its committed content is not in this clone"
        elif name in pointers:
            obstacle = "a file of Git LFS"
        if obstacle:
            entries[name], not_compared[name] = f"{mode} {old}", obstacle
        elif obstacle is None:
            entries[name] = f"0 {'0' * len(old)}"  # no entry
    # Entries that count whatever is in the working tree.
    lines = "".join(f"{entry}\t{name}\0" for name, entry in entries.items())
    shadow.ask("update-index", "-z", "--index-info", stdin=os.fsencode(lines))
    whole = (name for name, entry in entries.items() if not entry.startswith("0"))
    shadow.ask("update-index", "-z", "--skip-worktree", "--stdin", stdin=_joined(whole))
    shadow.settings = [
        *shadow.settings,
        f"core.bigFileThreshold={MAX_SHOWN_BYTES}",
        # As git quotes them: `git apply` must find names that are no UTF-8.
        f"core.quotePath={'true' if any(name != _as_utf8(name) for name in facts) else 'false'}",
    ]
    options = ["--patch", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color"]
    return shadow.ask(*diff_index, *options, tree).decode(errors="backslashreplace")


def _obstacle(path: Path) -> str | None:
    """The reason not to read a file that changed, or ""; None for a pipe or device, which counts as gone."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"unreadable: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "" if stat.S_ISLNK(status.st_mode) or stat.S_ISDIR(status.st_mode) else None
    if status.st_size > MAX_TRACKED_BYTES:
        return f"more than {MAX_TRACKED_BYTES:,} bytes"
    return "" if os.access(path, os.R_OK) else "unreadable"


def _joined(names: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(name) + b"\0" for name in names)
