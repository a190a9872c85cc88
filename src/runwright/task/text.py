"""From texts to token ids, keeping count of what truncation takes away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from runwright.types import Batch, Example


def encode_texts(tokenizer: Any, *texts: Sequence[Any], max_length: int) -> list[Example]:
    """One example for each text, or for each pair where two sequences are given.

    An example has `input_ids`, `token_type_ids` where they say anything, and `full_length`: its tokens
    before the cut to `max_length` (pairs lose from the longer text first). None counts as empty.
    """
    columns = [["" if value is None else str(value) for value in column] for column in texts]
    encoded = tokenizer(*columns, verbose=False, return_attention_mask=False)
    full_lengths = [len(ids) for ids in encoded["input_ids"]]
    fields = {name: list(encoded[name]) for name in ("input_ids", "token_type_ids") if name in encoded}
    long_rows = [row for row, length in enumerate(full_lengths) if length > max_length]
    if long_rows:
        cut = tokenizer(
            *[[column[row] for row in long_rows] for column in columns],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
        )
        for name, values in fields.items():
            for row, value in zip(long_rows, cut[name], strict=True):
                values[row] = value
    if len(texts) == 1:
        fields.pop("token_type_ids", None)  # all zero: what every model assumes
    return [
        {"full_length": full_lengths[row], **{name: values[row] for name, values in fields.items()}}
        for row in range(len(full_lengths))
    ]


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
