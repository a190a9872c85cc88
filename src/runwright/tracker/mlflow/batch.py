"""Journal records in the form that MLflow takes, collected up to what a few calls can carry.

MLflow 3.17 takes names of letters, digits, `/ _ . - :` and spaces that are also plain relative paths, up to
250 characters; param values up to 6,000 characters and tag values up to 8,000; it stores an infinite metric
as ±1.797e308. What is changed here is kept whole in the journal, and the run carries a tag that says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

# MLflow's limits for one log_batch call; it also refuses requests over 1 MB, which are then halved.
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_NAME_LENGTH = 250
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000

_NOT_TAKEN = re.compile(r"[^/\w.\- :]")


@dataclass(kw_only=True, slots=True)
class Batch:
    """Entries for one or more calls of log_batch, and how far in the journal they reach.

    A name that MLflow does not take is shown in another form.
    """

    offset: int
    num_records: int = 0
    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)  # a record that must come after all others

    @property
    def is_full(self) -> bool:
        """Return True if it is time to send."""
        return bool(self.last) or len(self.metrics) >= MAX_METRICS or len(self.params) >= MAX_PARAMS

    def take(self, record: dict[str, Any], *, offset: int) -> None:
        """Take in the journal record that ends at `offset`."""
        from mlflow.entities import Metric

        for name, value in record.get("m", {}).items():
            self.metrics.append(Metric(key := mlflow_name(name), float(value), record["t"], record["s"]))
            if math.isinf(float(value)):
                self._note(f"runwright.infinite.{key}", f"{value} at step {record['s']}; shown as ±1.8e308")
        for name, text in record.get("params", {}).items():
            self.params[mlflow_name(name)] = mlflow_text(text, max_length=MAX_PARAM_LENGTH)
        for name, text in record.get("tags", {}).items():
            self.tags[mlflow_name(name)] = mlflow_text(text, max_length=MAX_TAG_LENGTH)
        for name, (first, now) in record.get("changed", {}).items():
            self._note(f"runwright.changed.{name}", f"{first} → {now}")
        if "conflict" in record:
            self._note("runwright.replay_differs", f"step {record['s']}: {json.dumps(record['conflict'])}")
        if "artifact" in record or "status" in record or "model" in record:
            self.last = record
        self.offset = offset
        self.num_records += 1

    def _note(self, name: str, text: str) -> None:
        self.tags[mlflow_name(name)[:MAX_NAME_LENGTH]] = mlflow_text(text, max_length=MAX_TAG_LENGTH)


def mlflow_name(name: str) -> str:
    """The name itself where MLflow takes it, else a readable form of it; different names stay different."""
    is_path = posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/"))
    if is_path and len(name) <= MAX_NAME_LENGTH and not _NOT_TAKEN.search(name):
        return name
    readable = re.sub(r"_{2,}", "_", _NOT_TAKEN.sub("_", name))
    folders = (folder.lstrip(".") for folder in readable.split("/") if folder.strip(". "))
    # A hash of the original keeps `f1@10` and `f1(10)` apart, the same way in every process.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    start = "/".join(folders)[: MAX_NAME_LENGTH - 9]
    return f"{start}-{digest}" if start else digest


def mlflow_text(text: str, *, max_length: int) -> str:
    """The text itself where MLflow takes it, else its beginning and what became of the rest."""
    clean = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(clean) <= max_length:
        return clean
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    note = f" … [{len(text)} characters, sha256 {digest}; whole in the journal]"
    return clean[: max_length - len(note)] + note
