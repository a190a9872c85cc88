"""Names and values in the form that MLflow takes: changed only where it must be, and then recorded.

MLflow 3.17 takes names of letters, digits, `/ _ . - :` and spaces that are also plain relative paths, up to
250 characters; param values up to 6,000 characters and tag values up to 8,000; it stores an infinite metric
as ±1.797e308. What is changed here is kept whole in the journal, and the run carries a tag that says so.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

MAX_NAME_LENGTH = 250
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000

_TAKEN_NAME = re.compile(r"[/\w.\- :]+")
_NOT_TAKEN = re.compile(r"[^/\w.\- :]")


def mlflow_name(name: str) -> str:
    """The name itself where MLflow takes it, else a readable form of it; different names stay different."""
    if _is_taken(name):
        return name
    readable = re.sub(r"_{2,}", "_", _NOT_TAKEN.sub("_", name))
    parts = (part.lstrip(".") for part in readable.split("/") if part.strip(". "))
    # A hash of the original keeps `f1@10` and `f1(10)` apart, the same way in every process.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = "/".join(parts)[: MAX_NAME_LENGTH - 9]
    return f"{kept}-{digest}" if kept else digest


def mlflow_text(text: str, *, max_length: int) -> str:
    """The text itself where MLflow takes it, else its beginning and what became of the rest."""
    clean = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(clean) <= max_length:
        return clean
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    note = f" … [{len(text)} characters, sha256 {digest}; whole in the journal]"
    return clean[: max_length - len(note)] + note


def _is_taken(name: str) -> bool:
    plain_path = posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/"))
    return len(name) <= MAX_NAME_LENGTH and plain_path and _TAKEN_NAME.fullmatch(name) is not None
