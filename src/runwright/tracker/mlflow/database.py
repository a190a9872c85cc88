"""Databases that MLflow keeps runs in: driver, answer, faults, and a new one made once and whole."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from runwright.config.addresses import to_address
from runwright.config.redaction import redact
from runwright.errors import TrackingError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Which of the database's advisory locks is ours; it only has to be the same in every version of Runwright.
LOCK_KEY = 4_729_531_806
MAX_ANSWER_LENGTH = 300
TABLES = {"alembic_version", "experiments", "runs", "metrics", "params", "tags"}  # in every version of MLflow
ADVICE = (
    "restore it, or move it away: the next run makes a new one, and runwright sync --all fills it from the "
    "runs' journals; or set tracker.uri to another file"
)
LOCKED_ADVICE = "end the program that holds it (fuser shows which); runs keep everything and send it later"


def missing_driver(uri: str) -> str | None:
    """Name the package without which this database cannot be talked to; None where nothing is missing."""
    from sqlalchemy.exc import NoSuchModuleError

    try:
        _engine(uri).dispose()
    except NoSuchModuleError as error:
        return str(error)
    except ImportError as error:
        wanted = error.name or "psycopg"
        package = "'runwright[postgresql]'" if wanted == "psycopg" else wanted
        return f"it needs the Python package {wanted}, which is not installed: pip install {package}"
    return None


def ask(uri: str, *, timeout_seconds: float) -> str | None:
    """Connect to the database; None on success, else the error in one line, without secrets."""
    from sqlalchemy.exc import SQLAlchemyError

    missing = missing_driver(uri)
    if missing:
        return missing
    try:
        _engine(uri, timeout_seconds=timeout_seconds).connect().close()
    except SQLAlchemyError as error:
        # The driver's words, without SQLAlchemy's around them, in one line.
        lines = str(getattr(error, "orig", None) or error).splitlines()
        return redact("; ".join(line.strip() for line in lines if line.strip()))[:MAX_ANSWER_LENGTH]
    return None


def make_tables(uri: str, *, artifacts: str, timeout_seconds: float) -> None:
    """Make MLflow's tables in a PostgreSQL database that has none: once, whoever asks at the same time.

    MLflow makes them without a lock, and of two processes that do so one fails. Ours is in the database, so
    that it holds between machines, and ends with the connection, so that a killed process leaves none. What
    MLflow commits it commits whole: a kill leaves the first tables or all, and the next process goes on.
    Raises TrackingError where another process takes too long, or the tables are of another version of MLflow.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import text

    until = time.monotonic() + timeout_seconds
    # Of the transaction, not the session: PgBouncer may give the next transaction to another session.
    lock = text("SELECT pg_try_advisory_xact_lock(:key)")
    with _engine(uri, timeout_seconds=timeout_seconds).connect() as connection:
        if _version(connection) is None:
            while not connection.scalar(lock, {"key": LOCK_KEY}):
                if time.monotonic() > until:
                    raise TrackingError(
                        f"the tables of {redact(uri)} are being made by another process for too long"
                    )
                time.sleep(0.1)
            if _version(connection) is None:
                SqlAlchemyStore(uri, artifacts)
        version = _version(connection)
    if fault := version_fault(redact(uri), version, address=redact(uri)):
        raise TrackingError(": ".join(fault))


def version_fault(store: str, version: str | None, *, address: str) -> tuple[str, str] | None:
    """The reason why tables of this version are not those of the MLflow that is installed, and advice."""
    latest = latest_version()
    if latest in (None, version):
        return None
    upgrade = f"mlflow db upgrade {shlex.quote(address)}"
    return (
        f"{store} is of another version of MLflow (schema {version}, here {latest})",
        f"an older one, after a backup, for all who use it: {upgrade}; a newer one: install that MLflow",
    )


def _engine(uri: str, *, timeout_seconds: float = 10) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    # libpq takes whole seconds, and 2 at least; other drivers have other names for it.
    is_libpq = make_url(uri).get_dialect().driver in ("psycopg", "psycopg2")
    options = {"connect_timeout": max(2, round(timeout_seconds))} if is_libpq else {}
    return create_engine(uri, poolclass=NullPool, connect_args=options)


def _version(connection: Connection) -> str | None:
    """The version of MLflow's tables; None where they are not there or not yet whole."""
    from sqlalchemy import text

    # MLflow's migrations and this entry become visible together, by one commit. The catalogue is read as a
    # table: to_regclass answers from a cache that, in one transaction, misses what others have made since.
    made = text("SELECT 1 FROM pg_class WHERE relname = 'alembic_version' AND pg_table_is_visible(oid)")
    if connection.scalar(made) is None:
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


@cache
def latest_version() -> str | None:
    """The version of the tables of the MLflow that is installed; None where it has no such function."""
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError:  # a private function of one version: without it nothing is compared
        return None
    return _get_latest_schema_revision()


# --- sqlite -----------------------------------------------------------------------------------------------


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
