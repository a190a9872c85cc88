"""Losses over the vectors of texts that belong together or do not, as sums.

Vectors are [N, K, D]: K texts of each of N examples, in the order anchor, positive, negative.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor


def in_batch_negatives(vectors: Tensor, *, scale: float, symmetric: bool) -> Tensor:
    """Sum of cross-entropies in nats: which of all positives and negatives belongs to each anchor.

    Multiple negatives ranking (Henderson et al. 2017, section 4.4), InfoNCE with a temperature of 1/scale.
    Symmetric: the mean of that and of which of all anchors belongs to each positive.
    """
    anchors, positives = vectors[:, 0], vectors[:, 1]
    candidates = torch.cat([positives, *vectors[:, 2:].unbind(dim=1)])
    similarity = scale * anchors @ candidates.T  # [N, N], or [N, 2 N] with negatives
    own = torch.arange(len(anchors), device=vectors.device)
    forth = F.cross_entropy(similarity, own, reduction="sum")
    if not symmetric:
        return forth
    back = F.cross_entropy(similarity[:, : len(anchors)].T, own, reduction="sum")
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
