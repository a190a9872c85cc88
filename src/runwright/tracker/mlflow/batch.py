"""Journal records in the form that MLflow takes, collected up to what a few calls can carry."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runwright.tracker.mlflow.names import (
    MAX_NAME_LENGTH,
    MAX_PARAM_LENGTH,
    MAX_TAG_LENGTH,
    mlflow_name,
    mlflow_text,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

# MLflow's limits for one log_batch call; it also refuses requests over 1 MB, which are then halved.
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100


@dataclass(kw_only=True, slots=True)
class Batch:
    """What one or more calls of log_batch carry, and how far in the journal that reaches.

    A name that MLflow does not take is shown in another form, said once in the log and in a tag; `named`
    holds those of earlier batches.
    """

    offset: int
    named: set[str]
    num_records: int = 0
    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    long_texts: dict[str, str] = field(default_factory=dict)  # what MLflow would cut, by its name there
    last: dict[str, Any] = field(default_factory=dict)  # a record that must come after all others

    @property
    def is_full(self) -> bool:
        """Whether it is time to send."""
        return bool(self.last) or len(self.metrics) >= MAX_METRICS or len(self.params) >= MAX_PARAMS

    def take(self, record: dict[str, Any], *, offset: int) -> None:
        """Take in the journal record that ends at `offset`."""
        for name, figure in record.get("m", {}).items():
            self._take_metric(name, float(figure), step=record["s"], timestamp=record["t"])
        for name, text in record.get("params", {}).items():
            key = self._name(name)
            self.params[key] = self._text(key, text, MAX_PARAM_LENGTH)
        for name, text in record.get("tags", {}).items():
            key = self._name(name)
            self.tags[key] = self._text(key, text, MAX_TAG_LENGTH)
        self.inputs += record.get("inputs", [])
        for name, (first, now) in record.get("changed", {}).items():
            self._note(f"runwright.changed.{name}", f"{first} → {now}")
        if "conflict" in record:
            self._note("runwright.replay_differs", f"step {record['s']}: {json.dumps(record['conflict'])}")
        if "artifact" in record or "status" in record or "model" in record:
            self.last = record
        self.offset = offset
        self.num_records += 1

    def _take_metric(self, name: str, value: float, *, step: int, timestamp: int) -> None:
        from mlflow.entities import Metric

        key = self._name(name)
        self.metrics.append(Metric(key, value, timestamp, step))
        if math.isinf(value):
            self._note(f"runwright.infinite.{key}", f"{value} at step {step}; shown as ±1.8e308")

    def _name(self, name: str) -> str:
        key = mlflow_name(name)
        if key != name and key not in self.named:
            self.named.add(key)
            logger.warning("MLflow does not take the name %r: it is shown as %r", name, key)
            self._note(f"runwright.name.{key}", name)
        return key

    def _text(self, key: str, text: str, max_length: int) -> str:
        shown = mlflow_text(text, max_length=max_length)
        if shown != text:
            self.long_texts[key] = text
        return shown

    def _note(self, name: str, text: str) -> None:
        self.tags[mlflow_name(name)[:MAX_NAME_LENGTH]] = mlflow_text(text, max_length=MAX_TAG_LENGTH)
