"""From examples of different lengths to one rectangular batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from runwright.types import Batch, Example


def pad_batch(examples: Sequence[Example], *, pad_token_id: int, side: str) -> Batch:
    """`input_ids`, `attention_mask`, `token_type_ids` [B, L] int64; `example_ids` and `groups` [B] int64.

    Token types and groups only where the examples have them. L is the longest example's length: no more
    padding than needed. `side` is "right" or "left".
    """
    length = max(1, *(len(example["input_ids"]) for example in examples))  # models want a token
    fill = {"input_ids": pad_token_id, "token_type_ids": 0}
    batch: Batch = {
        name: torch.tensor([_padded(example[name], length, value, side) for example in examples])
        for name, value in fill.items()
        if name in examples[0]
    }
    batch["attention_mask"] = torch.tensor(
        [_padded([1] * len(example["input_ids"]), length, 0, side) for example in examples]
    )
    batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
    if "group" in examples[0]:
        batch["groups"] = torch.tensor([example["group"] for example in examples])
    return batch


def _padded(values: Sequence[int], length: int, fill: int, side: str) -> list[int]:
    padding = [fill] * (length - len(values))
    return [*padding, *values] if side == "left" else [*values, *padding]


def pad_rows(rows: Sequence[Sequence[int]], *, fill: int, side: str) -> torch.Tensor:
    """Rows of whole numbers as one [B, L] int64 tensor, L that of the longest, at least 1."""
    length = max(1, *map(len, rows))
    return torch.tensor([_padded(row, length, fill, side) for row in rows], dtype=torch.int64)
