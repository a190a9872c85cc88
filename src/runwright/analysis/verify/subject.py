"""The subject of a verification, an experiment as one process sees it, and its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from runwright.build import Prepared
from runwright.dataset.examples import PreparedExamples, record_batch
from runwright.trainer.ranks import Ranks
from runwright.types import Examples

STREAM_ROWS = 200  # of a stream are looked at
BITS = "bit for bit"
Verdict = Literal["holds", "fails", "reported", "not checked"]


class Finding(NamedTuple):
    """Result of one measurement or comparison."""

    check: str  # parity, evaluation or resume
    what: str
    difference: str  # a number, or in words
    allowed: str
    verdict: Verdict
    advice: str = ""  # where it does not hold


def judge(check: str, what: str, difference: float, *, limit: float, where: str, advice: str) -> Finding:
    """Compare a difference with its limit; `where` names what has the largest one."""
    holds = difference <= limit  # False for NaN
    text = f"{difference:.1e}" if difference else "0"
    return Finding(
        check,
        what,
        f"{text} ({where})" if difference and where else text,
        allowed=f"{limit:.0e}" if limit else BITS,
        verdict="holds" if holds else "fails",
        advice="" if holds else advice,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A configuration with its data, and this process among those that measure it."""

    config: Mapping[str, Any]
    prepared: Prepared
    ranks: Ranks

    @property
    def alone(self) -> Ranks:
        """This process as if it were the only one."""
        return replace(self.ranks, rank=0, num_ranks=1, sharded=False)

    @property
    def train(self) -> Examples:
        """Training examples; of a stream those of its first rows."""
        if self.prepared.stream is None:
            return self.prepared.examples["train"]
        _, examples = self.prepared.stream.open(None).read(STREAM_ROWS, is_cancelled=lambda: False)
        assert examples is not None, "the first rows of the stream were fit for the task a moment ago"
        return examples


def sample(examples: Examples, count: int) -> PreparedExamples:
    """At most so many examples, evenly from the whole split."""
    total = len(examples)
    positions = np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
    rows = examples.fetch(positions.tolist())
    return PreparedExamples([record_batch(rows)], cache_note="")
