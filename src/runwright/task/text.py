"""From texts to token ids, keeping count of what truncation takes away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from runwright.types import Batch, Example

IGNORED = -100  # a label that is not trained on


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


def pad_batch(examples: Sequence[Example], tokenizer: Any, token_fields: Mapping[str, int]) -> Batch:
    """Padded fields [B, L] int64 that the examples have, and `example_ids`, `groups` [B] int64.

    L is the longest example's length, at least 1: no more padding than needed. `token_fields` names more
    fields with one number a token, and says what pads them.
    """
    fills = {"input_ids": tokenizer.pad_token_id, "token_type_ids": 0, **token_fields}
    batch: Batch = {
        name: pad_rows([example[name] for example in examples], fill=fill, side=tokenizer.padding_side)
        for name, fill in fills.items()
        if name in examples[0]
    }
    ones = [[1] * len(example["input_ids"]) for example in examples]
    batch["attention_mask"] = pad_rows(ones, fill=0, side=tokenizer.padding_side)
    batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
    if "group" in examples[0]:
        batch["groups"] = torch.tensor([example["group"] for example in examples])
    return batch


def pad_rows(rows: Sequence[Sequence[int]], *, fill: int, side: str) -> torch.Tensor:
    """Rows of whole numbers as one [B, L] int64 tensor; `side` of the padding is "right" or "left"."""
    length = max(1, *map(len, rows))  # models want a token
    padded = []
    for row in rows:
        padding = [fill] * (length - len(row))
        padded.append([*padding, *row] if side == "left" else [*row, *padding])
    return torch.tensor(padded, dtype=torch.int64)
