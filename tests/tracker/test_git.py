"""A repository of somebody else, in which everything that git may be told to run creates a file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runwright.tracker.provenance import collect
from runwright.tracker.repository import read_repository

HOOKS = ["post-index-change", "fsmonitor-watchman", "reference-transaction", "post-checkout", "pre-auto-gc"]


def git(folder: Path, *arguments: str, given: str | None = None) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def canaries(tmp_path: Path) -> Path:
    """A folder in which a file appears for each command that was run, named after what ran it."""
    folder = tmp_path / "canaries"
    folder.mkdir()
    return folder


def plant(folder: Path, canaries: Path, *, prefix: str = "") -> None:
    """Settings and hooks of a repository that each run a command."""

    def touch(name: str, then: str = "true") -> str:
        return f"touch {canaries / (prefix + name)}; {then}"

    place = Path(git(folder, "rev-parse", "--absolute-git-dir").strip())
    settings = {
        "core.fsmonitor": touch("fsmonitor", "false"),
        "core.sshCommand": touch("ssh", "false"),
        "core.gitProxy": touch("proxy", "false"),
        "core.pager": touch("pager", "cat"),
        "core.editor": touch("editor"),
        "core.askPass": touch("askpass"),
        "core.alternateRefsCommand": touch("refs"),
        "credential.helper": "!" + touch("credential"),
        "diff.external": touch("external"),
        "diff.evil.textconv": touch("textconv", "cat"),
        "diff.evil.command": touch("driver"),
        "filter.evil.clean": touch("clean", "cat"),
        "filter.evil.smudge": touch("smudge", "cat"),
        "filter.process.process": touch("process", "false"),
        "include.path": str(place / "more"),
        "core.hooksPath": str(place / "evil-hooks"),
    }
    for name in ("rev-parse", "ls-files", "ls-tree", "cat-file", "config", "branch", "rev-list"):
        settings |= {f"alias.{name}": "!" + touch("alias"), f"pager.{name}": touch("pager", "cat")}
    with (place / "config").open("a") as file:
        for key, value in settings.items():
            section, *kind, name = key.split(".")
            file.write(f'[{section} "{kind[0]}"]\n' if kind else f"[{section}]\n")
            file.write(f'\t{name} = "{value}"\n')
    (place / "more").write_text(f'[filter "included"]\n\tclean = "{touch("include", "cat")}"\n')
    (place / "evil-hooks").mkdir()
    for hook in HOOKS:
        for hooks in ("hooks", "evil-hooks"):
            file = place / hooks / hook
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"#!/bin/sh\n{touch('hook')}\n")
            file.chmod(0o755)


def edit(folder: Path) -> None:
    """Changes of the same size, in the second of the commit: git cannot tell by size and time."""
    for name in ("model.py", "data.csv", "notes.txt"):
        (folder / name).write_text((folder / name).read_text().replace("1", "2"))


def make(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitattributes").write_text(
        "*.py filter=evil diff=evil\n*.csv filter=process\n*.txt filter=included diff=other\n"
    )
    for name in ("model.py", "data.csv", "notes.txt"):
        (folder / name).write_text(f"{name} = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_what_a_repository_configures_is_not_run(tmp_path: Path, canaries: Path) -> None:
    folder = make(tmp_path / "project")
    plant(folder, canaries)
    edit(folder)
    (folder / "new.py").write_text("x = 1\n")
    record = collect(folder)
    assert list(canaries.iterdir()) == []
    for name in ("model.py", "data.csv", "notes.txt"):
        assert f"-{name} = 1\n+{name} = 2\n" in record["git"]["diff"]
    assert record["git"]["not_compared"] == []
    assert "+x = 1\n" in record["git"]["diff"]
    # Git itself runs them: the settings are right.
    for arguments in (
        ["diff", "HEAD", "--no-ext-diff", "--", "model.py"],
        *(["diff", "HEAD", "--", name] for name in ("model.py", "data.csv", "notes.txt")),
        ["-c", "filter.process.process=", "add", "notes.txt"],
    ):
        subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False)
    run = {file.name for file in canaries.iterdir()}
    assert run >= {"fsmonitor", "textconv", "clean", "process", "include", "external", "driver", "hook"}


def test_what_a_submodule_configures_is_not_run(tmp_path: Path, canaries: Path) -> None:
    library = make(tmp_path / "library")
    folder = make(tmp_path / "project")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "lib")
    git(folder, "commit", "-q", "-m", "second")
    plant(folder / "lib", canaries, prefix="lib-")
    edit(folder / "lib")
    repository = read_repository(folder)
    assert list(canaries.iterdir()) == []
    assert repository is not None
    assert (repository.diff, repository.not_compared) == ("", ["lib (files of a submodule)"])
    subprocess.run(["git", "-C", folder, "diff", "HEAD"], capture_output=True, check=False)
    assert {file.name for file in canaries.iterdir()} >= {"lib-fsmonitor", "lib-process"}
    # Another commit that is checked out there is a difference, in git's own words.
    before, after = git(library, "rev-parse", "HEAD").strip(), "1" * 40
    (folder / ".git" / "modules" / "lib" / "HEAD").write_text(f"{after}\n")
    repository = read_repository(folder)
    assert repository is not None
    assert f"-Subproject commit {before}\n+Subproject commit {after}\n" in repository.diff


def test_what_a_partial_clone_lacks_is_named_and_not_fetched(
    tmp_path: Path, canaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = make(tmp_path / "origin")
    git(origin, "config", "uploadpack.allowFilter", "true")
    folder = tmp_path / "project"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{origin}", str(folder))
    git(folder, "sparse-checkout", "set", "--no-cone", "/model.py", "/.gitattributes")
    git(folder, "checkout", "-q", "main")
    helper = tmp_path / "git-remote-evil"
    helper.write_text(f"#!/bin/sh\ntouch {canaries}/helper\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (folder / "model.py").write_text("model.py = 2\n")
    (folder / "data.csv").write_text("x = 2\n")  # outside the sparse checkout, where notes.txt stays away
    for name, settings in {
        "uploadpack": {"uploadpack": f"touch {canaries}/uploadpack; false"},
        "ssh": {"url": "ssh://localhost/x"},
        "helper": {"vcs": "evil"},
    }.items():
        git(folder, "config", "core.sshCommand", f"touch {canaries}/ssh; false")
        for key, value in settings.items():
            git(folder, "config", f"remote.origin.{key}", value)
        repository = read_repository(folder)
        assert list(canaries.iterdir()) == []
        assert repository is not None
        assert "-model.py = 1\n+model.py = 2\n" in repository.diff
        assert "data.csv" not in repository.diff
        assert "notes.txt" not in repository.diff
        assert repository.not_compared == ["data.csv (its committed content is not in this clone)"]
        command = ["git", "-C", folder, "cat-file", "-p", "HEAD:notes.txt"]
        subprocess.run(command, capture_output=True, check=False)
        (canaries / name).unlink()


def test_folders_that_a_partial_clone_lacks_are_not_fetched(tmp_path: Path, canaries: Path) -> None:
    origin = make(tmp_path / "origin")
    git(origin, "config", "uploadpack.allowFilter", "true")
    folder = tmp_path / "project"
    git(tmp_path, "clone", "-q", "--filter=tree:0", "--no-checkout", f"file://{origin}", str(folder))
    git(folder, "config", "remote.origin.uploadpack", f"touch {canaries}/uploadpack; false")
    repository = read_repository(folder)
    assert list(canaries.iterdir()) == []
    assert repository is not None
    assert repository.commit == git(origin, "rev-parse", "HEAD").strip()
    assert [name[:11] for name in repository.not_compared] == ["all files ("]
    subprocess.run(["git", "-C", folder, "ls-tree", "HEAD"], capture_output=True, check=False)
    assert [file.name for file in canaries.iterdir()] == ["uploadpack"]


def test_a_file_outside_is_not_read_whatever_the_repository_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    (home / "lab").mkdir(parents=True)
    (home / "lab" / "key.txt").write_text("canary\n")
    folder = make(home / "project")
    # A tree that leads out; git commits it when it is told the bytes.
    blob = git(folder, "hash-object", "-w", "--stdin", given="x").strip()
    entry = b"100644 key.txt\0" + bytes.fromhex(blob)
    trees = [entry]
    for name in (b"lab", b".."):
        oid = _write_tree(folder, trees[-1])
        trees.append(b"40000 " + name + b"\0" + bytes.fromhex(oid))
    commit = git(folder, "commit-tree", _write_tree(folder, trees[-1]), "-m", "out").strip()
    git(folder, "update-ref", "refs/heads/main", commit)
    _stage_unchecked(folder, "../lab/key.txt", instead_of="aa/lab/key.txt")
    record = collect(folder)
    reason = "'../lab/key.txt' is no name of a file inside the repository"
    assert record["git"]["not_compared"] == [f"all files ({reason})"]
    assert "canary" not in json.dumps(record)
    # A working tree that is not the folder with the repository in it.
    git(folder, "config", "core.worktree", str(home))
    assert read_repository(folder) is None
    assert "names another working tree" in caplog.text


def _write_tree(folder: Path, content: bytes) -> str:
    command = ["git", "-C", str(folder), "hash-object", "-t", "tree", "--literally", "-w", "--stdin"]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode().strip()


def _stage_unchecked(folder: Path, name: str, *, instead_of: str) -> None:
    """Put a name into the index that git would refuse to add."""
    blob = git(folder, "hash-object", "-w", "--stdin", given="x").strip()
    git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},{instead_of}")
    index = folder / ".git" / "index"
    content = index.read_bytes()[:-20].replace(instead_of.encode(), name.encode())
    index.write_bytes(content + hashlib.sha1(content).digest())


def test_without_git_and_where_git_refuses_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make(tmp_path / "project")
    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert read_repository(folder) is None
    assert "dubious ownership" in caplog.text
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None
    assert read_repository(folder) is None
    assert "this run records no commit" in caplog.text
