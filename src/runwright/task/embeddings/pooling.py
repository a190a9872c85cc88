"""One vector for a text from the vectors of its tokens."""

from __future__ import annotations

import json
from typing import Literal

import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

Pooling = Literal["mean", "cls", "max"]


def pool(states: Tensor, attention_mask: Tensor, *, how: Pooling) -> Tensor:
    """[B, D] from [B, L, D]; padding, on whichever side, has no part in it.

    mean: over all tokens, special ones included; cls: the first token; max: the largest of each dimension.
    """
    mask = attention_mask.bool()
    if how == "cls":
        first = mask.int().argmax(dim=1)  # not 0 where padding is on the left
        return states[first.new_tensor(range(len(first))), first]
    if how == "max":
        return states.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    weights = mask[..., None].to(states)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length one, in the last dimension; of nothing but zeros stay as they are."""
    return F.normalize(vectors, dim=-1)


def sentence_transformers_files(
    *, pooling: Pooling, normalize: bool, dimension: int, max_length: int
) -> dict[str, str]:
    """What sentence-transformers wants beside a model, as texts by path: it then gives the same vectors."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] * normalize)]
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (path, kind) in enumerate(kinds)
    ]
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    modes = {f"pooling_mode_{name}": how == pooling for how, name in names.items()}
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": dimension, **modes},
    }
    texts = {path: json.dumps(content, indent=2) + "\n" for path, content in files.items()}
    return texts | ({"2_Normalize/config.json": "{}\n"} if normalize else {})
