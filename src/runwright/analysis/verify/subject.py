"""The experiment that is verified, as one process sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from runwright.build import Prepared
from runwright.trainer.ranks import Ranks
from runwright.types import Example, Examples

STREAM_ROWS = 200  # of a stream are looked at


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

    @property
    def name(self) -> str:
        """What is verified, for people."""
        return type(self.prepared.task).__name__


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the examples of a split."""

    whole: Examples
    positions: np.ndarray  # [N] int64

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, [N] int64."""
        return self.whole.lengths[self.positions]

    @property
    def widths(self) -> np.ndarray:
        """What each takes of a batch with padding, [N] int64."""
        return self.whole.widths[self.positions]

    @property
    def example_ids(self) -> np.ndarray:
        """[N] int64."""
        return self.whole.example_ids[self.positions]

    def __len__(self) -> int:
        return len(self.positions)

    def fetch(self, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions of the part."""
        return self.whole.fetch(self.positions[np.asarray(positions, dtype=np.int64)].tolist())


def some_of(examples: Examples, count: int) -> Part:
    """At most so many examples, evenly from the whole split."""
    total = len(examples)
    return Part(examples, np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64)))


@contextmanager
def weights_kept(model: torch.nn.Module) -> Iterator[None]:
    """Parameters and buffers afterwards are what they were before."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(before)
