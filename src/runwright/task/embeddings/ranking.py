"""Where the text that belongs to a query stands among all candidates, block by block.

Vectors are kept, similarities never: memory grows with queries plus candidates, not with their product.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

QUERY_BLOCK, CANDIDATE_BLOCK = 512, 16384  # 32 MB of similarities in float32 at a time
# Texts that make the same tokens have the same vector but for rounding, which must not decide who is first.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """What became of N queries."""

    ranks: np.ndarray  # [N] int64, from 1
    losses: np.ndarray  # [N] float64 in nats: cross-entropy of the right one among all candidates


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """The distinct texts that are searched, and how queries relate to them."""

    first_rows: np.ndarray  # [M] int64, a row in which each occurs
    own: np.ndarray  # [N] int64, the candidate of each query
    hidden: np.ndarray  # [H, 2] int64, sorted: (query, candidate) pairs that are right too, of other rows


def find_candidates(queries: Sequence[Hashable], positives: Sequence[Hashable]) -> Candidates:
    """Each positive once; the other positives of an equal query do not stand in the way of this one."""
    numbers: dict[Hashable, int] = {}
    own = np.array([numbers.setdefault(text, len(numbers)) for text in positives], dtype=np.int64)
    _, first_rows = np.unique(own, return_index=True)
    right: dict[Hashable, set[int]] = {}
    for query, number in zip(queries, own.tolist(), strict=True):
        right.setdefault(query, set()).add(number)
    hidden = [
        (place, other)
        for place, query in enumerate(queries)
        if len(right[query]) > 1
        for other in sorted(right[query] - {int(own[place])})
    ]
    pairs = np.array(hidden, dtype=np.int64).reshape(-1, 2)
    return Candidates(first_rows=first_rows, own=own, hidden=pairs)


def rank(queries: np.ndarray, corpus: np.ndarray, candidates: Candidates, *, scale: float) -> Ranking:
    """Ranks by inner product of queries [N, D] with the corpus [M, D].

    As many stand before the right candidate as are not clearly less similar: equal vectors win nothing.
    """
    parts = [
        _rank_block(queries, corpus, candidates, slice(start, start + QUERY_BLOCK), scale)
        for start in range(0, len(queries), QUERY_BLOCK)
    ]
    ranks = [ranks for ranks, _ in parts] or [np.empty(0, np.int64)]
    losses = [losses for _, losses in parts] or [np.empty(0)]
    return Ranking(ranks=np.concatenate(ranks), losses=np.concatenate(losses))


def _rank_block(
    queries: np.ndarray, corpus: np.ndarray, candidates: Candidates, block: slice, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    chosen, own = queries[block], candidates.own[block]
    own_similarity = np.einsum("nd,nd->n", chosen.astype(np.float64), corpus[own].astype(np.float64))
    limit = own_similarity - TOLERANCE * np.maximum(1.0, np.abs(own_similarity))
    ranks = np.ones(len(chosen), dtype=np.int64)
    highest, total = scale * own_similarity, np.ones(len(chosen))  # of exponentials, relative to the highest
    bounds = np.searchsorted(candidates.hidden[:, 0], [block.start, block.start + len(chosen)])
    hidden = candidates.hidden[slice(*bounds)] - [block.start, 0]
    for start in range(0, len(corpus), CANDIDATE_BLOCK):
        end = min(start + CANDIDATE_BLOCK, len(corpus))
        similarity = chosen @ corpus[start:end].T
        inside = (start <= own) & (own < end)
        similarity[inside, own[inside] - start] = -np.inf
        here = hidden[(start <= hidden[:, 1]) & (hidden[:, 1] < end)]
        similarity[here[:, 0], here[:, 1] - start] = -np.inf
        ranks += (~(similarity < limit[:, None])).sum(axis=1)
        logits = scale * similarity.astype(np.float64)
        peak = np.maximum(highest, logits.max(axis=1))
        total = total * np.exp(highest - peak) + np.exp(logits - peak[:, None]).sum(axis=1)
        highest = peak
    return ranks, highest + np.log(total) - scale * own_similarity
