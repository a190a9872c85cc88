"""A database that MLflow keeps runs in: its driver, its answer, and PostgreSQL's tables, made once."""

from __future__ import annotations

import shlex
import time
from functools import cache
from typing import TYPE_CHECKING

from runwright.config.redaction import redact
from runwright.errors import TrackingError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Which of the database's advisory locks is ours; it only has to be the same in every version of Runwright.
LOCK_KEY = 4_729_531_806
MAX_ANSWER_LENGTH = 300


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
