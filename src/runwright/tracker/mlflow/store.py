"""The MLflow store that a run is shown in: its address, its faults, and a new one made once and whole."""

import contextlib
import logging
import os
import re
import shlex
import sqlite3
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from runwright.config.addresses import to_address, to_path
from runwright.config.redaction import redact, secrets_of_address
from runwright.errors import TrackingError
from runwright.store import cache_root, digest

if TYPE_CHECKING:
    from sqlalchemy import Connection

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
MAX_ANSWER_LENGTH = 300
TABLES = {"alembic_version", "experiments", "runs", "metrics", "params", "tags"}  # in every version of MLflow
ADVICE = (
    "restore it, or move it away: the next run makes a new one, and runwright sync --all fills it from the "
    "runs' journals; or set tracker.uri to another file"
)
LOCKED_ADVICE = "end the program that holds it (fuser shows which); runs keep everything and send it later"
logger = logging.getLogger(__name__)
_ADDRESS = re.compile(r"[a-zA-Z][\w+.\-]+:")  # what has no scheme is a path

# MLflow's own patience is 5 retries of 120 s, 247 s in all for a server that is down (measured): the
# uploader retries by itself and needs each call to end. What the user set in the environment stays.
_CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Read once, when mlflow is imported: these stay.
_IMPORT_SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Address of an MLflow store and of its files."""

    uri: str  # may hold a password: never shown or written
    artifacts: str | None  # the address where a new experiment keeps files; None: as the server says

    @property
    def scheme(self) -> str:
        """The kind of store: `sqlite`, `postgresql`, `http` or another."""
        return urlsplit(self.uri).scheme.partition("+")[0]

    @property
    def file(self) -> Path | None:
        """The database file of a sqlite store."""
        return to_path(self.uri) if self.scheme == "sqlite" else None


def locate(uri: str | None, *, artifacts: str | None, output_dir: Path) -> Store:
    """The store that is asked for: the given one, else MLFLOW_TRACKING_URI, else sqlite in `output_dir`."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or default_address(output_dir)
    try:
        scheme = urlsplit(uri).scheme.partition("+")[0]
    except ValueError:  # its text would show a part of the password
        raise TrackingError(
            f"tracker.uri {redact(uri)!r} is no address: special characters in a password are written as %XX"
        ) from None
    if artifacts is not None and secrets_of_address(artifacts):
        raise TrackingError(
            f"tracker.artifact_uri {redact(artifacts)!r} holds a password, which MLflow would keep in clear; "
            f"give an address without one, and the password in the way that this kind of store reads it"
        )
    if scheme in ("", "file"):
        raise TrackingError(
            f"tracker.uri {uri!r} is a folder: MLflow 3 no longer keeps runs in folders; "
            f"give sqlite:///PATH.db, a server's http(s) address or a database's address, or leave it null"
        )
    folder = output_dir.resolve() if scheme in DATABASES else None
    if scheme == "sqlite":
        if (file := to_path(uri)) is None:
            raise TrackingError(
                f"tracker.uri {redact(uri)!r} names no file: give sqlite:///PATH.db, seen from here, or "
                f"sqlite:////PATH.db, seen from the root (%3F for a ? in it, %25 for a %), or leave it null"
            )
        # A relative path would mean another file after a change of folder.
        file = file.absolute()
        uri, folder = to_address(file, "sqlite", query=uri.partition("?")[2]), file.parent
    if artifacts is None and folder is not None:
        artifacts = to_address(folder / ARTIFACTS_NAME, "file")
    elif artifacts is not None and not _ADDRESS.match(artifacts):
        artifacts = to_address(Path(artifacts), "file")
    return Store(uri=uri, artifacts=artifacts)


def default_address(output_dir: Path) -> str:
    """The sqlite store of the runs in a folder."""
    return to_address(output_dir.resolve() / DATABASE_NAME, "sqlite")


def probe(store: Store, *, timeout_seconds: float) -> str | None:
    """None where the store answers within the time, else the reason why not; never longer, never raises."""
    answer: list[str | None] = []
    # In a thread because looking up a name has no time limit of its own.
    prober = threading.Thread(target=lambda: answer.append(_ask(store, timeout_seconds)), daemon=True)
    prober.start()
    prober.join(timeout_seconds)
    return answer[0] if answer else f"no answer within {timeout_seconds:g} s"


@contextmanager
def client_settings(*, timeout_seconds: int = 10) -> Iterator[None]:
    """MLflow's patience as the uploader needs it, for as long as it works."""
    for name, value in _IMPORT_SETTINGS.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17.2 maps its tables with a loader that SQLAlchemy 2.1 deprecates: nothing a user can mend.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
    # Said of MLflow's own classes when mlflow.pyfunc is imported, after a code for colour.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
    import mlflow.tracking  # noqa: F401

    # It writes a traceback for each call that a database does not answer: we say so once, in one line.
    databases = logging.getLogger("mlflow.store.db.utils")
    level = databases.level
    databases.setLevel(logging.CRITICAL)
    wanted = {**_CLIENT_SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_seconds)}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        databases.setLevel(level)
        for name, value in ours.items():
            if os.environ.get(name) == value:
                del os.environ[name]


def _ask(store: Store, timeout_seconds: float) -> str | None:
    if store.scheme in DATABASES and store.file is None:
        try:
            with _connected(store):
                return None
        except TrackingError as error:
            return str(error)
    if store.scheme not in ("http", "https"):
        return None  # a file, or what MLflow knows more of
    address = urlsplit(store.uri)
    url = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds):  # noqa: S310 - the scheme is http(s)
            return None
    except urllib.error.HTTPError as error:
        with error:  # it answered: what it does not let us see, MLflow's client may
            return f"the server answers {error.code}" if error.code >= 500 else None
    except urllib.error.URLError as error:
        is_certificate = "certificate" in str(error.reason).lower()
        return None if is_certificate else str(error.reason)
    except (OSError, ValueError) as error:
        return str(error)


# --- databases --------------------------------------------------------------------------------------------


@contextmanager
def _connected(store: Store, *, locked_seconds: float = 10.0) -> Iterator["Connection"]:
    """A connection to a database, past MLflow; TrackingError with the reason in one line, without secrets."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    options = {"timeout": locked_seconds} if store.file else {}
    try:
        with create_engine(store.uri, poolclass=NullPool, connect_args=options).connect() as connection:
            yield connection
    except ImportError as error:
        wanted = error.name or "psycopg"
        package = "'runwright[postgresql]'" if wanted == "psycopg" else wanted
        raise TrackingError(
            f"it needs the Python package {wanted}, which is not installed: pip install {package}"
        ) from error
    except SQLAlchemyError as error:
        # The driver's words, without SQLAlchemy's around them, in one line.
        lines = str(getattr(error, "orig", None) or error).splitlines()
        text = redact("; ".join(line.strip() for line in lines if line.strip()))
        raise TrackingError(text[:MAX_ANSWER_LENGTH]) from error


def _tables(store: Store, *, locked_seconds: float = 10.0) -> tuple[set[str], str | None]:
    """Names of a database's tables, and the version of MLflow's; None where they are not whole."""
    from sqlalchemy import inspect, text

    with _connected(store, locked_seconds=locked_seconds) as connection:
        tables = set(inspect(connection).get_table_names())
        # The last thing that MLflow writes when it makes its tables.
        query = text("SELECT version_num FROM alembic_version")
        return tables, connection.scalar(query) if "alembic_version" in tables else None


@cache
def latest_version() -> str | None:
    """The version of the tables of the MLflow that is installed; None where it has no such function."""
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError:  # a private function of one version: without it nothing is compared
        return None
    return _get_latest_schema_revision()


def require_tables(store: Store, *, locked_seconds: float = 10.0) -> None:
    """Raise TrackingError where a database is no store of this MLflow, with what to do.

    To be asked before MLflow opens it, which makes and changes tables in whatever database it is given.
    """
    file, name = store.file, store.file or redact(store.uri)
    if file is not None and not (file.is_file() and file.stat().st_size):
        raise TrackingError(f"{file} is no file, or an empty one: the next run makes one where none is")
    try:
        tables, version = _tables(store, locked_seconds=locked_seconds)
    except TrackingError as error:
        advice = LOCKED_ADVICE if "locked" in str(error) else ADVICE
        raise TrackingError(f"{name} cannot be read as a store of MLflow ({error}): {advice}") from error
    if not tables >= TABLES or version is None:
        shown = ", ".join(sorted(tables)[:5]) or "none"
        raise TrackingError(
            f"{name} lacks tables of MLflow (it has: {shown}), foreign or left half made: {ADVICE}"
        )
    if latest_version() not in (None, version):
        upgrade = f"mlflow db upgrade {shlex.quote(redact(store.uri))}"
        raise TrackingError(
            f"{name} is of another version of MLflow (schema {version}, here {latest_version()}): an older "
            f"one, after a backup, for all who use it: {upgrade}; a newer one: install that MLflow"
        )


def prepare(store: Store, *, timeout_seconds: float) -> None:
    """Make a database's tables where there are none: once, however many processes of a machine ask for it.

    Raises TrackingError where something else is there, which stays as it is.
    """
    if store.scheme not in DATABASES:
        return
    artifacts, file = store.artifacts or ARTIFACTS_NAME, store.file
    # A link to a file that is not there yet: it is made where it leads.
    entry = Path(os.path.realpath(file)) if file else cache_root() / "mlflow" / digest(redact(store.uri))
    try:
        if not _is_made(store):
            entry.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{entry}.lock", timeout=timeout_seconds):
                if not _is_made(store):
                    _make(store, artifacts)
    except Timeout as error:
        text = f"{redact(store.uri)} is being made by another process for over {timeout_seconds:g} s"
        raise TrackingError(text) from error
    require_tables(store)
    if file is not None and artifacts == to_address(file.parent / ARTIFACTS_NAME, "file"):
        former = follow_move(file, artifacts=artifacts)
        if former:
            text = "%s was moved or copied, with files from %s: they are looked for and kept beside it now"
            logger.warning(text, file, former)


def _is_made(store: Store) -> bool:
    return store.file.exists() if store.file else _tables(store)[1] is not None


def _make(store: Store, artifacts: str) -> None:
    """Make a new store: a file whole or not at all, under another name until it is.

    MLflow makes tables without a lock, and of two processes that do so one fails. What it commits to a server
    it commits whole: a kill leaves the first tables or all, and the next process goes on; a file is unusable.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if store.file is None:
        SqlAlchemyStore(store.uri, artifacts)
        return
    file = Path(os.path.realpath(store.file))
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)  # the lock is held: what a killed process left is ours
    address = to_address(new, "sqlite")
    SqlAlchemyStore(address, artifacts).engine.dispose()
    SqlAlchemyStore._engine_map.pop(address, None)
    publish(new, file)


def publish(new: Path, file: Path) -> None:
    """Give a whole file its name, where no other has it: a program that knows nothing of our lock may."""
    try:
        os.link(new, file)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not file.exists():
            new.rename(file)
    new.unlink(missing_ok=True)


# Columns in which MLflow 3 keeps absolute addresses of files.
ADDRESS_COLUMNS = (
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
            for table, _, column in (address.partition(".") for address in ADDRESS_COLUMNS):
                old = f"{root}/"
                query = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608 - names of ours
                query += f" WHERE substr({column}, 1, ?) = ?"
                connection.execute(query, (f"{artifacts}/", len(old) + 1, len(old), old))
    return ", ".join(moved) or None
