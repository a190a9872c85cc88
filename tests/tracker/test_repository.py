"""What is recorded of a working tree, held against what real git says of it."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.tracker import repository as repository_module
from runwright.tracker.repository import Repository, read_repository


def git(folder: Path, *arguments: str, given: str | None = None) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, input=(given or "").encode())
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def commit(tmp_path: Path) -> Callable[..., Path]:
    def make(files: dict[str, bytes], *options: str) -> Path:
        folder = tmp_path / "project"
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main", *options)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
        return folder

    return make


def read(folder: Path) -> Repository:
    found = read_repository(folder)
    assert found is not None
    return found


def state(folder: Path) -> dict[Path, tuple[str, bytes]]:
    """Kind and content of each file but git's own."""
    found = {}
    for path in folder.rglob("*"):
        place = path.relative_to(folder)
        if path.is_symlink():
            found[place] = "link", os.fsencode(path.readlink())
        elif path.is_file() and place.parts[0] != ".git":
            found[place] = "executable" if os.access(path, os.X_OK) else "file", path.read_bytes()
    return found


def applied(folder: Path, diff: str) -> Path:
    """A checkout of the commit with the diff applied by git."""
    copy = folder.with_name("copy")
    git(folder, "worktree", "add", "-q", "--detach", str(copy), "HEAD")
    git(copy, "apply", "--whitespace=nowarn", given=diff)
    (copy / ".git").unlink()
    return copy


TEXT = "".join(f"line {number}\n" for number in range(30)).encode()
EDITED = TEXT.replace(b"line 3\n", b"l\xc3\xadne 3\n").replace(b"line 20\n", b"")
ODD_NAMES = [
    "with blank.py",
    " ",
    "\t a",
    'quo"te.py',
    "ümläut ß.py",
    "new\nline.py",
    "back\\slash.py",
    "a b/c b/d.py",
]
CHANGES: dict[str, tuple[bytes | None, bytes | None]] = {
    **dict.fromkeys([*ODD_NAMES, os.fsdecode(b"latin-\xe9.py")], (TEXT, EDITED)),
    "gone.py": (TEXT, None),
    "gone-empty.py": (b"", None),
    "gone-open.py": (b"no end of line", None),
    "ends.py": (b"a\nb", b"a\nb\n"),
    "open.py": (b"a\nb\n", b"a\nb"),
    "filled.py": (b"", b"x"),
    "emptied.py": (TEXT, b""),
    "to-crlf.py": (b"a\nb\n", b"a\r\nb\r\n"),
    "crlf.py": (b"a\r\nb\r\n", b"a\r\nc\r\n"),
    "odd.py": ("a\u2028b\x0c\r\nc\rd\n".encode(), "a\u2028b\x0c\r\nc\re\n".encode()),
    "tool.sh": (b"1\n", b"2\n"),
    "new/file.py": (None, b"1\n2"),
    "new/empty.py": (None, b""),
}


def test_git_applies_the_difference_to_the_commit(commit: Callable[..., Path]) -> None:
    same = {"run.sh": b"1\n", "becomes-link.py": b"1\n"}
    folder = commit({name: old for name, (old, _) in CHANGES.items() if old is not None} | same)
    (folder / "was-link").symlink_to("run.sh")
    git(folder, "add", "was-link")
    git(folder, "commit", "-q", "-m", "second")
    (folder / "new").mkdir()
    for name, (_, new) in CHANGES.items():
        if new is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(new)
    git(folder, "add", "new/empty.py")  # the other one is new to git
    for name in ("tool.sh", "run.sh"):
        (folder / name).chmod(0o755)
    (folder / "becomes-link.py").unlink()
    (folder / "becomes-link.py").symlink_to("else where")
    (folder / "was-link").unlink()
    (folder / "was-link").write_text("x\n")
    found = read(folder)
    assert found.not_compared == []
    assert state(applied(folder, found.diff)) == state(folder)
    git(folder, "add", "new")
    names = git(folder, "diff", "HEAD", "--no-renames", "--name-only", "-z").split("\0")[:-1]
    assert sorted(names) == sorted([*CHANGES, *same, "was-link"])
    assert found.diff.count("diff --git ") == len(names) + 2  # those of another kind are gone and new


def test_git_applies_the_differences_of_random_edits(commit: Callable[..., Path]) -> None:
    chance = random.Random(0)

    def text(lines: list[str]) -> bytes:
        return ("\n".join(lines) + ("\n" if chance.random() < 0.7 else "")).encode()

    def draw(count: int) -> list[str]:
        return chance.choices(["", "a", "b", "\r", " x ", "\\ No newline", "+", "-- a", "@@ -1 +1"], k=count)

    before = {f"{number}.txt": draw(chance.randint(0, 40)) for number in range(60)}
    folder = commit({name: text(lines) for name, lines in before.items()})
    for name, lines in before.items():
        for _ in range(chance.randint(0, 4)):
            at = chance.randint(0, len(lines))
            lines[at : at + chance.randint(0, 3)] = draw(chance.randint(0, 3))
        (folder / name).write_bytes(text(lines))
    assert state(applied(folder, read(folder).diff)) == state(folder)


def test_hashes_and_modes_are_those_of_git(commit: Callable[..., Path]) -> None:
    for options in ([], ["--object-format=sha256"]):
        folder = commit({"a.bin": b"\0" * 10, "b.txt": b"1\n", "latin.txt": b"\xe9\n"}, *options)
        (folder / "a.bin").write_bytes(b"\0" * 9 + b"1")
        (folder / "latin.txt").write_bytes(b"\xe8\n")
        (folder / "b.txt").write_bytes(b"2\n")
        lines = read(folder).diff.splitlines()
        assert [line for line in lines if line.startswith("index ")] == [
            line for line in git(folder, "diff", "--full-index").splitlines() if line.startswith("index ")
        ]
        assert "Binary files a/a.bin and b/a.bin differ" in lines
        assert {"-\\xe9", "+\\xe8"} <= {*lines}
        folder.rename(folder.with_name(f"done{len(options)}"))


@pytest.mark.parametrize("how", ["attribute", "setting"])
def test_line_ends_that_git_converts_are_no_difference(commit: Callable[..., Path], how: str) -> None:
    attributes = b"*.txt text=auto\n*.csv -text\n" if how == "attribute" else b"*.csv -text\n"
    folder = commit({".gitattributes": attributes, "a.txt": b"1\n2\n", "b.txt": b"1\n2\n", "c.csv": b"1\n"})
    if how == "setting":  # git leaves alone what was committed so
        (folder / "d.txt").write_bytes(b"4\r\n5\r\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "second")
        (folder / "d.txt").write_bytes(b"4\r\n6\r\n")
    if how == "setting":
        git(folder, "config", "core.autocrlf", "true")
    for name, content in {"a.txt": b"1\r\n2\r\n", "b.txt": b"1\r\n3\r\n", "c.csv": b"1\r\n"}.items():
        (folder / name).write_bytes(content)
    diff = read(folder).diff
    assert "a.txt" not in diff
    assert "@@ -1,2 +1,2 @@\n 1\n-2\n+3\n" in diff
    assert "@@ -1 +1 @@\n-1\n+1\r\n" in diff
    assert ("@@ -1,2 +1,2 @@\n 4\r\n-5\r\n+6\r\n" in diff) == (how == "setting")
    names = ["b.txt", "c.csv", *(["d.txt"] if how == "setting" else [])]
    assert git(folder, "diff", "--name-only").split() == names


def test_a_file_of_git_lfs_that_was_touched_is_named_and_not_compared(commit: Callable[..., Path]) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    folder = commit(
        {".gitattributes": b"*.bin filter=lfs diff=lfs -text\n", "a.bin": pointer, "b.bin": pointer}
    )
    (folder / "a.bin").write_bytes(b"\0weights!")
    repository = read(folder)
    assert (repository.diff, repository.not_compared) == ("", ["a.bin (a file of Git LFS)"])


def test_links_are_compared_as_links_and_never_followed(commit: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "x.py").write_text("canary\n")
    folder = commit({"lab/x.py": b"1\n", "y.py": b"1\n", "pipe.py": b"1\n"})
    for name in ("lab/x.py", "y.py", "pipe.py"):
        (folder / name).unlink()
    (folder / "lab").rmdir()
    (folder / "lab").symlink_to(tmp_path / "private")
    (folder / "other").symlink_to(tmp_path / "private")
    (folder / "y.py").symlink_to(tmp_path / "private" / "x.py")
    (folder / "z.py").symlink_to(tmp_path / "private" / "x.py")
    os.mkfifo(folder / "pipe.py")
    found = read(folder)
    assert "canary" not in found.diff
    assert f"+{tmp_path / 'private' / 'x.py'}\n\\ No newline" in found.diff
    assert found.diff.count("deleted file mode 100644") == 3
    assert "z.py" not in found.diff


def test_before_the_first_commit_and_away_from_a_branch(commit: Callable[..., Path], tmp_path: Path) -> None:
    folder = commit({"a.py": b"1\n"})
    git(folder, "checkout", "-q", "--detach")
    first = git(folder, "rev-parse", "HEAD").strip()
    found = read(folder)
    assert (found.root, found.commit, found.branch, found.diff) == (folder, first, None, "")
    git(folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "sub").mkdir()
    found = read(tmp_path / "side" / "sub")
    assert (found.root, found.commit, found.branch) == (tmp_path / "side", first, "side")
    git(folder, "checkout", "-q", "--orphan", "empty")
    found = read(folder)
    assert (found.commit, found.branch) == (None, "empty")
    assert "new file mode 100644" in found.diff  # staged, and in no commit


def test_a_repository_that_the_user_names_is_read(
    commit: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = commit({"a.py": b"1\n"})
    (folder / ".git").rename(tmp_path / "store.git")
    assert read_repository(folder) is None
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "store.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(folder))
    (folder / "a.py").write_bytes(b"2\n")
    found = read(folder)
    assert found.root == folder
    assert "-1\n+2\n" in found.diff


def test_what_is_not_compared_is_named(commit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = commit({"big.csv": b"1" * 50, "long.txt": b"1\n" * 10, "short.txt": b"1\n"})
    (folder / "big.csv").write_bytes(b"2" * 50)
    (folder / "long.txt").write_bytes(b"2\n" * 10)
    (folder / "short.txt").write_bytes(b"2\n")
    (folder / "new.bin").write_bytes(b"1" * 50)
    (folder / "new.py").write_bytes(b"1" * 50)
    monkeypatch.setattr(repository_module, "MAX_TRACKED_BYTES", 40)
    monkeypatch.setattr(repository_module, "MAX_SOURCE_BYTES", 49)
    monkeypatch.setattr(repository_module, "MAX_SHOWN_BYTES", 10)
    found = read(folder)
    assert found.not_compared == ["big.csv (more than 40 bytes)"]
    assert "new." not in found.diff
    assert "Binary files a/long.txt and b/long.txt differ" in found.diff
    assert "-1\n+2\n" in found.diff
    assert "big.csv" not in found.diff


def test_a_file_that_git_was_told_to_take_for_unchanged_is_compared(commit: Callable[..., Path]) -> None:
    folder = commit({"a.py": b"1\n"})
    git(folder, "update-index", "--assume-unchanged", "a.py")
    (folder / "a.py").write_bytes(b"2\n")
    assert "-1\n+2\n" in read(folder).diff


def test_an_index_in_two_files_is_read_and_left_alone(commit: Callable[..., Path]) -> None:
    folder = commit({"a.py": b"1\n", "b.py": b"1\n"})
    git(folder, "update-index", "--split-index")
    (folder / "a.py").write_bytes(b"2\n")
    before = {file.name: file.read_bytes() for file in (folder / ".git").glob("*index*")}
    assert len(before) == 2
    assert "-1\n+2\n" in read(folder).diff
    assert {file.name: file.read_bytes() for file in (folder / ".git").glob("*index*")} == before


def test_a_damaged_repository_is_recorded_with_the_reason(commit: Callable[..., Path]) -> None:
    folder = commit({"a.py": b"1\n"})
    (folder / ".git" / "index").write_bytes(b"DIRC no index")
    found = read(folder)
    assert found.commit == git(folder, "rev-parse", "HEAD").strip()
    (reason,) = found.not_compared
    assert reason.startswith("all files (")


def test_a_settings_file_that_never_ends_does_not_stop_a_run(
    commit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = commit({"a.py": b"1\n"})
    os.mkfifo(folder / "pipe")
    git(folder, "config", "include.path", str(folder / "pipe"))
    monkeypatch.setattr(repository_module, "TIMEOUT_SECONDS", 0.3)
    start = time.monotonic()
    assert read_repository(folder) is None
    assert time.monotonic() - start < 5
    assert "took more than" in caplog.text
