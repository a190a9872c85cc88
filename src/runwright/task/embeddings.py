"""Vectors of texts: pooled from tokens, trained on by what belongs together, and ranked.

Vectors are [N, K, D]: K texts of each of N examples, in the order anchor, positive, negative.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from scipy.special import logsumexp
from torch import Tensor

QUERY_BLOCK, CANDIDATE_BLOCK = 512, 16384  # 32 MB of similarities in float32 at a time
# Texts that make the same tokens have the same vector but for rounding, which must not decide who is first.
TOLERANCE = 1e-6

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


def sentence_transformers_files(
    *, pooling: Pooling, normalize: bool, dimension: int, max_length: int
) -> dict[str, str]:
    """Files of sentence-transformers beside a model, as texts by path: it then gives the same vectors."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] * normalize)]
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    files = {
        "modules.json": [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for idx, (path, kind) in enumerate(kinds)
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": dimension,
            **{f"pooling_mode_{name}": how == pooling for how, name in names.items()},
        },
    }
    texts = {path: json.dumps(content, indent=2) + "\n" for path, content in files.items()}
    return texts | ({"2_Normalize/config.json": "{}\n"} if normalize else {})


def in_batch_negatives(vectors: Tensor, *, scale: float, symmetric: bool) -> Tensor:
    """Sum of cross-entropies in nats: which of all positives and negatives belongs to each anchor.

    Multiple negatives ranking (Henderson et al. 2017, section 4.4), InfoNCE with a temperature of 1/scale.
    Symmetric: the mean of that and of which of all anchors belongs to each positive.
    """
    anchors, positives = vectors[:, 0], vectors[:, 1]
    candidates = torch.cat([positives, *vectors[:, 2:].unbind(dim=1)])
    similarity = scale * anchors @ candidates.T  # [N, N], or [N, 2 N] with negatives
    right = torch.arange(len(anchors), device=vectors.device)
    forth = F.cross_entropy(similarity, right, reduction="sum")
    if not symmetric:
        return forth
    back = F.cross_entropy(similarity[:, : len(anchors)].T, right, reduction="sum")
    return (forth + back) / 2


def triplet(vectors: Tensor, *, margin: float) -> Tensor:
    """By how much the negative is not farther from the anchor than the positive by `margin`, [N].

    Distances are Euclidean, as in torch's triplet_margin_loss.
    """
    anchors, positives, negatives = vectors[:, :3].unbind(dim=1)
    return F.triplet_margin_loss(anchors, positives, negatives, margin=margin, reduction="none")


def cosine(vectors: Tensor) -> Tensor:
    """The cosine of the first two texts of each example, [N]."""
    return F.cosine_similarity(vectors[:, 0], vectors[:, 1], dim=-1)


def cosine_regression(vectors: Tensor, scores: Tensor) -> Tensor:
    """Squared differences between cosines and scores [N], which lie between 0 and 1."""
    return (cosine(vectors) - scores.to(vectors)).square()


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """The distinct texts that are searched, and how queries relate to them."""

    first_rows: np.ndarray  # [M] int64, a row in which each occurs
    right: np.ndarray  # [N] int64, the candidate of each query
    hidden: np.ndarray  # [H, 2] int64, sorted: (query, candidate) pairs that are right too, of other rows


def find_candidates(queries: Sequence[Hashable], positives: Sequence[Hashable]) -> Candidates:
    """Each positive once; for a query the other positives of equal queries are hidden."""
    numbers: dict[Hashable, int] = {}
    right = np.array([numbers.setdefault(text, len(numbers)) for text in positives], dtype=np.int64)
    _, first_rows = np.unique(right, return_index=True)
    of_query: dict[Hashable, set[int]] = {}
    for query, number in zip(queries, right.tolist(), strict=True):
        of_query.setdefault(query, set()).add(number)
    hidden = [
        (row, other)
        for row, query in enumerate(queries)
        for other in sorted(of_query[query] - {int(right[row])})
    ]
    pairs = np.array(hidden, dtype=np.int64).reshape(-1, 2)
    return Candidates(first_rows=first_rows, right=right, hidden=pairs)


def rank(
    queries: np.ndarray, corpus: np.ndarray, candidates: Candidates, *, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks from 1, [N] int64, by inner product of queries [N, D] with the corpus [M, D], and losses [N].

    As many stand before the right candidate as are not clearly less similar: equal vectors win nothing. The
    loss in nats is the cross-entropy of the right one among all candidates.
    """
    ranks, losses = np.empty(len(queries), dtype=np.int64), np.empty(len(queries))
    for start in range(0, len(queries), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        ranks[block], losses[block] = _rank_block(queries[block], corpus, candidates, start, scale)
    return ranks, losses


def _rank_block(
    queries: np.ndarray, corpus: np.ndarray, candidates: Candidates, first: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and losses of some queries, whose first one has this position."""
    right = candidates.right[first : first + len(queries)]
    similarity_of_right = np.einsum("nd,nd->n", queries.astype(np.float64), corpus[right].astype(np.float64))
    limit = similarity_of_right - TOLERANCE * np.maximum(1.0, np.abs(similarity_of_right))
    ranks = np.ones(len(queries), dtype=np.int64)
    log_total = scale * similarity_of_right
    bounds = np.searchsorted(candidates.hidden[:, 0], [first, first + len(queries)])
    hidden = candidates.hidden[slice(*bounds)] - np.array([first, 0])
    for start in range(0, len(corpus), CANDIDATE_BLOCK):
        end = min(start + CANDIDATE_BLOCK, len(corpus))
        similarity = queries @ corpus[start:end].T
        inside = (start <= right) & (right < end)
        similarity[inside, right[inside] - start] = -np.inf
        here = hidden[(start <= hidden[:, 1]) & (hidden[:, 1] < end)]
        similarity[here[:, 0], here[:, 1] - start] = -np.inf
        ranks += (~(similarity < limit[:, None])).sum(axis=1)
        logits = scale * similarity.astype(np.float64)
        log_total = np.logaddexp(log_total, logsumexp(logits, axis=1))
    return ranks, log_total - scale * similarity_of_right
