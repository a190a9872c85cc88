"""Addresses of paths with every character, against what SQLAlchemy, sqlite3 and MLflow do with them."""

from __future__ import annotations

import contextlib
import sqlite3
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from runwright.config.addresses import to_address, to_path

CHARACTERS = [*string.printable.replace("/", ""), "ü", "数", "é", "😀"]
WORDS = ("%25", "%23x", "100%", "a b ", "file:", "sqlite:", ":memory:", "?mode=memory", "#1?x=%3F")
NAMES = [*(f"a{character}b" for character in CHARACTERS), *(set(CHARACTERS) - {"."}), *WORDS]


def opened_by_sqlalchemy(address: str) -> tuple[str, dict[str, object]]:
    """The file name and the options that SQLAlchemy gives to `sqlite3.connect`."""
    url = make_url(address)
    (name,), options = url.get_dialect()().create_connect_args(url)
    return name, options


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """A database in a folder of each name, with that name as well; at the end nothing else is there."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE here (x)")
        content = connection.serialize()
    found = [tmp_path / name / f"{name}.db" for name in NAMES]
    for file in found:
        file.parent.mkdir()
        file.write_bytes(content)
    yield tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert all(len(list(file.parent.iterdir())) == 1 for file in found)


def test_every_file_is_found_again_by_sqlalchemy_sqlite3_and_mlflow(files: Path) -> None:
    from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry
    from mlflow.utils.file_utils import local_file_uri_to_path

    for file in files.glob("*/*"):
        address = to_address(file, "sqlite")
        assert (opened_by_sqlalchemy(address)[0], to_path(address)) == (str(file), file)
        engine = create_sqlalchemy_engine_with_retry(address)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all() == ["here"]
        engine.dispose()
        address = to_address(file, "file")
        assert (local_file_uri_to_path(address), to_path(address)) == (str(file), file)
        reader = sqlite3.connect(to_address(file, "file", query="mode=ro"), uri=True)
        assert reader.execute("SELECT name FROM sqlite_master").fetchall() == [("here",)]
        reader.close()


def test_files_for_mlflow_land_in_the_folder_that_is_meant(tmp_path: Path) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.utils.uri import append_to_uri_path

    note = tmp_path / "note.txt"
    note.write_text("kept")
    for name in NAMES:
        place = append_to_uri_path(to_address(tmp_path / "all" / name, "file"), "run", "artifacts")
        LocalArtifactRepository(place).log_artifact(str(note), "notes")
        assert (tmp_path / "all" / name / "run" / "artifacts" / "notes" / "note.txt").read_text() == "kept"
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///m.db?timeout=60", "m.db"),
        ("sqlite+pysqlite:////x/a%20b%3F.db", "/x/a b?.db"),
        ("sqlite:////x/team#1/m.db", "/x/team#1/m.db"),
        ("sqlite:////x/100%/m.db", "/x/100%/m.db"),
        ("sqlite:////x/a+b/m.db?isolation_level=#", "/x/a+b/m.db"),
    ],
)
def test_an_address_of_the_users_own_means_what_sqlalchemy_reads(
    address: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert to_path(address) == Path(file)
    assert opened_by_sqlalchemy(address)[0] == str(Path(file).absolute())


@pytest.mark.parametrize(
    "address",
    [
        *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"),
        *("sqlite:///file:x.db?uri=true&mode=ro", "sqlite://m.db", "sqlite:m.db"),
    ],
)
def test_what_names_no_file_has_no_path(address: str) -> None:
    assert to_path(address) is None
