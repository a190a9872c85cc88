"""A sqlite file that MLflow keeps runs in: faults of one that is there, and a new one made safely."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from runwright.config.addresses import to_address
from runwright.errors import TrackingError
from runwright.tracker.mlflow.database import version_fault

TABLES = {"alembic_version", "experiments", "runs", "metrics", "params", "tags"}  # in every version of MLflow
ADVICE = (
    "restore it, or move it away: the next run makes a new one, and runwright sync --all fills it from the "
    "runs' journals; or set tracker.uri to another file"
)
LOCKED_ADVICE = "end the program that holds it (fuser shows which); runs keep everything and send it later"


def find_fault(file: Path, *, address: str, locked_seconds: float = 10.0) -> tuple[str, str] | None:
    """The reason why a file is no store of this MLflow, and advice; None where nothing is wrong.

    To be asked before MLflow opens it, which makes its tables in whatever database it is given.
    """
    if not file.is_file():
        return f"{file} is no file", ADVICE
    if file.stat().st_size == 0:
        return f"{file} is empty, not a store of MLflow", "remove it, and the next run makes a new one"
    try:
        tables, version = _read(file, locked_seconds)
    except sqlite3.Error as error:
        if "locked" in str(error):
            return f"{file} is locked", LOCKED_ADVICE
        return f"{file} cannot be read as a store of MLflow ({error})", ADVICE
    if not tables >= TABLES or version is None:
        shown = ", ".join(sorted(tables)[:5]) or "none"
        return f"{file} lacks tables of MLflow (it has: {shown}): foreign, or left half made", ADVICE
    return version_fault(str(file), version, address=address)


def make_store(file: Path, *, artifacts: str, timeout_seconds: float) -> None:
    """Make a store where no file is: whole or not at all, once, however many processes ask for it.

    MLflow migrates a new file in place, and two processes doing so leave it unusable. It is made under
    another name inside a file lock and then given its own by a call that replaces nothing.
    """
    from filelock import FileLock, Timeout
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = Path(os.path.realpath(file))  # a link to a file that is not there yet: made where it leads
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{file}.lock", timeout=timeout_seconds):
            if not file.exists():
                new = file.with_name(f".{file.name}.new")
                new.unlink(missing_ok=True)  # the lock is held: what a killed process left is ours
                address = to_address(new, "sqlite")
                SqlAlchemyStore(address, artifacts).engine.dispose()
                SqlAlchemyStore._engine_map.pop(address, None)
                publish(new, file)
    except Timeout as error:
        raise TrackingError(
            f"{file} is being made by another process for over {timeout_seconds:g} s"
        ) from error


# Where MLflow 3 keeps absolute addresses of files.
ADDRESSES = (
    *("experiments.artifact_location", "runs.artifact_uri", "logged_models.artifact_location"),
    *("model_versions.source", "model_versions.storage_location"),
)


def follow_move(file: Path, *, artifacts: str) -> str | None:
    """Let the addresses of files in a store follow it to the folder that it was moved or copied to.

    Experiments keep new files beside the store then. Returns the former folder, None where nothing was moved.
    """
    connection = sqlite3.connect(to_address(file, "file", query="mode=rw"), uri=True, timeout=10)
    with contextlib.closing(connection), connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
        roots = {str(location).rpartition("/")[0] for (location,) in rows} - {artifacts}
        ours = f"/{artifacts.rpartition('/')[2]}"
        moved = sorted(root for root in roots if root.startswith("file:") and root.endswith(ours))
        for root in moved:
            for table, _, column in (address.partition(".") for address in ADDRESSES):
                old = f"{root}/"
                query = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608 - names of ours
                query += f" WHERE substr({column}, 1, ?) = ?"
                connection.execute(query, (f"{artifacts}/", len(old) + 1, len(old), old))
    return ", ".join(moved) or None


def _read(file: Path, locked_seconds: float) -> tuple[set[str], str | None]:
    """The tables of a database, and the version of MLflow's."""
    # Not mode=ro, which refuses what a killed program has left: the next to open a database takes that back.
    connection = sqlite3.connect(to_address(file, "file", query="mode=rw"), uri=True, timeout=locked_seconds)
    with contextlib.closing(connection):
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            return tables, None
        return tables, next(connection.execute("SELECT version_num FROM alembic_version"), (None,))[0]


def publish(new: Path, file: Path) -> None:
    """Give a whole file its name, where no other has it: a program that knows nothing of our lock may."""
    try:
        os.link(new, file)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        with contextlib.suppress(FileExistsError), file.open("xb") as target:
            target.write(new.read_bytes())
    new.unlink()
