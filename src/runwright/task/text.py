"""From texts to token ids, keeping count of what truncation takes away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runwright.types import Example


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
