"""Seconds until the first batch late in an epoch of four million rows, ours and accelerate's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any


class SyntheticRows:
    """As many rows as one likes, made when they are asked for."""

    def __init__(self, count: int) -> None:
        import numpy as np

        self.example_ids = np.arange(count)
        self.lengths = np.full(count, 8)

    def __len__(self) -> int:
        return len(self.example_ids)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {"example_id": int(position), "input_ids": [1] * 8}

    def fetch(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        return [self[position] for position in positions]


class NoTask:
    """Collates nothing, counts examples."""

    def count(self, examples: Sequence[Any]) -> float:
        return float(len(examples))

    def collate(self, examples: Sequence[Any]) -> Any:
        return examples


def measure_resume(repeats: int) -> dict[str, list[float]]:
    """Seconds from nothing to the first batch; both shuffle all rows of the epoch."""
    import torch
    from accelerate import skip_first_batches

    from runwright.trainer.batches import Batches, Cut

    batch_size, late = 4, 1_000_000
    rows: Any = SyntheticRows(batch_size * (late + 100))
    task: Any = NoTask()

    def ours(step: int) -> None:
        Batches(rows, task, batch_size=batch_size, seed=0, cut=Cut()).at(step)

    def skipping(step: int) -> None:
        loader = torch.utils.data.DataLoader(rows, batch_size=batch_size, shuffle=True, collate_fn=list)
        next(iter(skip_first_batches(loader, step)))

    found: dict[str, list[float]] = {}
    for _ in range(repeats + 1):
        for name, resume in (("ours", ours), ("skip_first_batches", skipping)):
            for step in (10, late):
                began = time.perf_counter()
                resume(step)
                found.setdefault(f"{name} at {step:,}", []).append(time.perf_counter() - began)
    found = {name: seconds[1:] for name, seconds in found.items()}
    for name in ("ours", "skip_first_batches"):
        pairs = zip(found[f"{name} at {late:,}"], found[f"{name} at 10"], strict=True)
        found[f"{name} ratio"] = [a / b for a, b in pairs]
    return found
