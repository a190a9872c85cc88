"""What cutting inputs at a maximum length loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class TruncationReport:
    """How many rows and tokens lie beyond `max_length`; lengths in tokens, special ones included."""

    max_length: int
    num_rows: int
    num_tokens: int
    num_truncated_rows: int
    num_lost_tokens: int
    longest: int

    def describe(self) -> str:
        """One sentence for the log."""
        if not self.num_truncated_rows:
            return (
                f"max_length {self.max_length} cuts none of {self.num_rows} rows; the longest has "
                f"{self.longest} tokens"
            )
        rows = self.num_truncated_rows / self.num_rows
        tokens = self.num_lost_tokens / self.num_tokens
        return (
            f"max_length {self.max_length} cuts {self.num_truncated_rows} of {self.num_rows} rows "
            f"({rows:.1%}) and loses {self.num_lost_tokens} of {self.num_tokens} tokens ({tokens:.1%}); "
            f"the longest has {self.longest}"
        )


def truncation_report(lengths_before: Sequence[int] | np.ndarray, max_length: int) -> TruncationReport:
    """What truncation at `max_length` does to inputs of these lengths in tokens."""
    lengths = np.asarray(lengths_before, dtype=np.int64)
    lost = np.maximum(lengths - max_length, 0)
    return TruncationReport(
        max_length=max_length,
        num_rows=len(lengths),
        num_tokens=int(lengths.sum()),
        num_truncated_rows=int((lost > 0).sum()),
        num_lost_tokens=int(lost.sum()),
        longest=int(lengths.max(initial=0)),
    )
