"""A PostgreSQL database that MLflow keeps runs in: its driver, whether it lets us in, tables made once."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from runwright.config.redaction import redact
from runwright.errors import TrackingError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Which of the database's advisory locks is ours; it only has to be the same in every version of Runwright.
LOCK_KEY = 4_729_531_806
MAX_ANSWER_LENGTH = 300


def missing_driver(uri: str) -> str | None:
    """What to install before this database can be talked to; None where nothing is missing."""
    try:
        _engine(uri).dispose()
    except ImportError as error:
        wanted = error.name or "psycopg"
        package = "'runwright[postgresql]'" if wanted == "psycopg" else wanted
        return f"it needs the Python package {wanted}, which is not installed: pip install {package}"
    return None


def ask(uri: str, *, timeout_seconds: float) -> str | None:
    """None where the database lets us in, else what it or the network says; without secrets."""
    from sqlalchemy.exc import SQLAlchemyError

    missing = missing_driver(uri)
    if missing:
        return missing
    engine = _engine(uri, timeout_seconds=timeout_seconds)
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        return _answer(error)
    return None


def make_tables(uri: str, *, artifacts: str, timeout_seconds: float) -> None:
    """Make MLflow's tables in a database that has none: once, whoever asks at the same time, from anywhere.

    MLflow makes them without a lock, and of two processes that do so one fails. Ours is in the database, so
    that it holds between machines, and ends with the connection, so that a killed process leaves none. What
    MLflow commits it commits whole: a kill leaves the first tables or all, and the next process goes on.
    Raises TrackingError where another process takes too long, or the tables are of another version of MLflow.
    """
    engine = _engine(uri, timeout_seconds=timeout_seconds)
    with engine.connect() as connection:
        if _version(connection) is None:
            _lock(connection, until=time.monotonic() + timeout_seconds, shown=redact(uri))
            if _version(connection) is None:
                _make(uri, artifacts)
        found, wanted = _version(connection), latest_version()
    if wanted is not None and found != wanted:
        raise TrackingError(
            f"{redact(uri)} is of another version of MLflow (schema {found}, here {wanted}); an older one: "
            "mlflow db upgrade ADDRESS, after a backup, for all who use it; a newer one: install that MLflow"
        )


def _engine(uri: str, *, timeout_seconds: float | None = None) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    # libpq takes whole seconds, and 2 at least; other drivers have other names for it.
    limited = timeout_seconds is not None and make_url(uri).get_dialect().driver in ("psycopg", "psycopg2")
    patience: dict[str, Any] = {"connect_timeout": max(2, round(timeout_seconds or 0))} if limited else {}
    return create_engine(uri, poolclass=NullPool, connect_args=patience)


def _version(connection: Connection) -> str | None:
    """The version of MLflow's tables; None where they are not there or not yet whole."""
    from sqlalchemy import text

    # MLflow's migrations and this entry become visible together, by one commit.
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def _lock(connection: Connection, *, until: float, shown: str) -> None:
    """Hold the lock until the transaction of this connection ends."""
    from sqlalchemy import text

    # Of the transaction, not the session: PgBouncer may give the next transaction to another session.
    while not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}):
        if time.monotonic() > until:
            raise TrackingError(f"the tables of {shown} are being made by another process for too long")
        time.sleep(0.1)


def _make(uri: str, artifacts: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts)


@cache
def latest_version() -> str | None:
    """The version of the tables of the MLflow that is installed; None where it does not say."""
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError:  # a private function of one version: without it nothing is compared
        return None
    return _get_latest_schema_revision()


def _answer(error: Exception) -> str:
    """What the driver says, without SQLAlchemy's words around it, in one line."""
    said = str(getattr(error, "orig", None) or error)
    return redact("; ".join(line.strip() for line in said.splitlines() if line.strip()))[:MAX_ANSWER_LENGTH]
