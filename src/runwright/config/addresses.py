"""Paths as addresses and back: `file` for MLflow, sqlite3 and browsers, `sqlite` for SQLAlchemy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit


def to_address(path: Path, scheme: Literal["file", "sqlite"], *, query: str = "") -> str:
    """The address that means this path to those who read it, whatever characters are in its names.

    `query` is what follows the `?`, as it stands. A relative path stays relative in a sqlite address.
    """
    end = f"?{query}" if query else ""
    if scheme == "file":
        return f"file://{quote(str(path.absolute()))}{end}"
    database = to_address(path, "file") if _is_for_sqlite(query) else str(path)
    escaped = database.replace("%", "%25").replace("?", "%3F")
    # MLflow 3.17.2 makes the parent folder of a `sqlite:///` address as it is spelt, `%3F`, query and all; it
    # makes none for an address that names the driver.
    driver = "" if escaped == str(path) and "/" not in query else "+pysqlite"
    return f"sqlite{driver}:///{escaped}{end}"


def to_path(address: str) -> Path | None:
    """The path that a file or sqlite address means; None where it names none or a database in memory."""
    scheme, _, rest = address.partition(":")
    if scheme == "file":
        path, query = unquote(urlsplit(address).path), ""
    else:
        name, _, query = rest.partition("?")  # not urlsplit: `#` is a character of the name to SQLAlchemy
        path = unquote(name.removeprefix("///")) if name.startswith("///") else ""
    if path in ("", ":memory:") or ("mode", "memory") in parse_qsl(query):
        return None
    return to_path(path) if _is_for_sqlite(query) and path.startswith("file:") else Path(path)


def _is_for_sqlite(query: str) -> bool:
    """Return True if SQLAlchemy hands the address inside on to SQLite, which decodes it once more."""
    return dict(parse_qsl(query)).get("uri", "").lower() in ("true", "yes", "on", "y", "t", "1")
