"""Files that are uploaded are the run's own, whatever its journal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from runwright.tracker.mlflow.logged_model import is_own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder from somebody else, beside a secret."""
    folder = tmp_path / "run"
    (folder / "tables").mkdir(parents=True)
    (folder / "inside.txt").touch()
    (folder / "tables" / "a.csv").touch()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").touch()
    return folder


@pytest.mark.parametrize("name", ["inside.txt", "tables", "tables/a.csv", "gone.txt"])
def test_files_and_folders_inside_are_its_own(name: str, folder: Path) -> None:
    assert is_own(folder / name, folder=folder)


def test_what_lies_elsewhere_is_not_its_own(folder: Path) -> None:
    secret = folder.parent / "secret"
    (folder / "file").symlink_to(secret / "key")
    (folder / "folder").symlink_to(secret)
    for name in ("../secret/key", "tables/../../secret", str(secret / "key"), "file", "folder", "folder/key"):
        assert not is_own(folder / name, folder=folder), name
    (folder / "tables" / "link").symlink_to("a.csv")
    assert not is_own(folder / "tables", folder=folder)
