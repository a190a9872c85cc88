"""The MLflow store that a run is shown in: its address, a probe of it, and a new one made safely."""

import logging
import os
import re
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from runwright.config.addresses import to_address, to_path
from runwright.config.redaction import redact, secrets_of_address
from runwright.errors import TrackingError
from runwright.tracker.mlflow import database

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
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
        file = to_path(uri)
        if file is None:
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


def require_driver(store: Store) -> None:
    """Raise TrackingError where a package is missing without which the store can never be reached."""
    missing = database.missing_driver(store.uri) if store.scheme in DATABASES and not store.file else None
    if missing:
        raise TrackingError(f"tracker.uri {redact(store.uri)!r}: {missing}")


def require_store(store: Store, *, timeout_seconds: float) -> None:
    """Raise TrackingError where the store does not answer, is not there yet or is no store of MLflow."""
    require_driver(store)
    trouble = probe(store, timeout_seconds=timeout_seconds)
    if store.file is not None and not store.file.exists():
        trouble = "there is no such file yet; the first run with tracker=mlflow makes it"
    if trouble:
        raise TrackingError(f"MLflow at {redact(store.uri)}: {trouble}")
    if store.file is not None:
        with client_settings():
            _require_tables(store.file, address=redact(store.uri))


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


def prepare(store: Store, *, timeout_seconds: float) -> None:
    """Make a sqlite or PostgreSQL store that is not there yet: once, however many processes ask for it.

    Raises TrackingError where something else is there, which stays as it is.
    """
    artifacts, file = store.artifacts or ARTIFACTS_NAME, store.file
    if store.scheme == "postgresql":
        database.make_tables(store.uri, artifacts=artifacts, timeout_seconds=timeout_seconds)
    if file is not None:
        if not file.exists():
            database.make_store(file, artifacts=artifacts, timeout_seconds=timeout_seconds)
        _require_tables(file, address=redact(store.uri))
        if artifacts == to_address(file.parent / ARTIFACTS_NAME, "file") and (
            former := database.follow_move(file, artifacts=artifacts)
        ):
            text = "%s was moved or copied, with files from %s: they are looked for and kept beside it now"
            logger.warning(text, file, former)


def _require_tables(file: Path, *, address: str) -> None:
    fault = database.find_fault(file, address=address)
    if fault is not None:
        raise TrackingError(": ".join(fault))


def _ask(store: Store, timeout_seconds: float) -> str | None:
    if store.scheme in DATABASES:
        return None if store.file else database.ask(store.uri, timeout_seconds=timeout_seconds)
    if store.scheme not in ("http", "https"):
        return None  # MLflow knows more of other schemes
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
