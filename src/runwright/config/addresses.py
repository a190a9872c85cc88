"""Paths as addresses and back: `file` for MLflow, sqlite3 and browsers, `sqlite` for SQLAlchemy."""

from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit


def to_address(path: Path, scheme: Literal["file", "sqlite"], *, query: str = "") -> str:
    """The address that means this path to those who read it, whatever characters are in its names.

    `query` is what follows the `?`, as it stands. A relative path stays relative in a sqlite address.
    """
    end = f"?{query}" if query else ""
    if scheme == "file":
        return f"file://{quote(str(path.absolute()))}{end}"
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    # MLflow 3.17.2 makes the parent folder of a `sqlite:///` address as it is spelt, `%3F`, query and all; it
    # makes none for an address that names the driver.
    driver = "" if escaped == str(path) and "/" not in query else "+pysqlite"
    return f"sqlite{driver}:///{escaped}{end}"


def to_path(address: str) -> Path | None:
    """The path that a file or sqlite address means; None where it names none or a database in memory."""
    scheme, _, rest = address.partition(":")
    if scheme == "file":
        path = unquote(urlsplit(address).path)
    else:
        name = rest.partition("?")[0]  # not urlsplit: `#` is a character of the name to SQLAlchemy
        path = unquote(name.removeprefix("///")) if name.startswith("///") else ""
    return None if path in ("", ":memory:") or path.startswith("file:") else Path(path)
