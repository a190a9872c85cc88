"""What is trained on for a vector of logits: one class, several classes, or a number.

Losses are sums with a denominator. Predictions carry the plain loss of each example: no smoothing, no
weights, so that evaluation metrics of differently trained runs can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.task.losses import Loss, losses_one_by_one
from runwright.task.text import IGNORED
from runwright.types import LossSum


@dataclass(frozen=True, kw_only=True, slots=True)
class SingleLabel:
    """Cross-entropy as torch defines it, with smoothing and class weights, or another loss.

    Logits are [B, C], labels [B] int64, of which -100 is ignored.
    """

    label_smoothing: float
    class_weights: Sequence[float] | None  # [C]
    own_loss: Loss | None = None

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        return torch.tensor(labels, dtype=torch.int64)

    def count(self, labels: Sequence[Any]) -> float:
        """Number of labels, or the sum of the weights of their classes."""
        kept = [label for label in labels if label != IGNORED]
        if self.class_weights is None:
            return float(len(kept))
        return float(sum(self.class_weights[label] for label in kept))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Sum over labels, in nats."""
        count = self.count(labels.tolist())
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if self.own_loss is None:
            total = F.cross_entropy(
                logits, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="sum"
            )
            return LossSum(total=total, count=count)
        kept = labels != IGNORED
        logits, labels = logits[kept], labels[kept]
        each = losses_one_by_one(self.own_loss, logits, labels)
        return LossSum(total=(each if weights is None else each * weights[labels]).sum(), count=count)

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        """The most probable class, and the probabilities of all."""
        return {
            "predicted": logits.argmax(dim=-1),
            "expected": labels,
            "scores": logits.softmax(dim=-1),
            "losses": None if labels is None else F.cross_entropy(logits, labels, reduction="none"),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiLabel:
    """Binary cross-entropy averaged over the C labels; labels [B, C] float32 of 0 and 1.

    `class_weights` weigh the positives of each label. Smoothing moves targets towards one half.
    """

    num_labels: int
    label_smoothing: float
    class_weights: Sequence[float] | None  # [C]
    threshold: float
    own_loss: Loss | None = None

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        """[B, C] float32 from lists of label ids."""
        hot = torch.zeros(len(labels), self.num_labels)
        for row, ids in enumerate(labels):
            hot[row, list(ids)] = 1.0
        return hot

    def count(self, labels: Sequence[Any]) -> float:
        return float(len(labels))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Sum over examples of the mean over labels, in nats."""
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if self.own_loss is None:
            targets = labels.to(logits) * (1 - self.label_smoothing) + self.label_smoothing / 2
            each = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
        else:
            each = losses_one_by_one(self.own_loss, logits, labels.to(logits))
            each = each if weights is None else torch.where(labels > 0, each * weights, each)
        return LossSum(total=each.mean(dim=1).sum(), count=float(len(labels)))

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        """Every label whose probability reaches the threshold, and all probabilities."""
        scores, losses = logits.sigmoid(), None
        if labels is not None:
            each = F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none")
            losses = each.mean(dim=1)
        return {
            "predicted": scores >= self.threshold,
            "expected": None if labels is None else labels.bool(),
            "scores": scores,
            "losses": losses,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """Squared error of the only logit, or another loss; labels [B] float64."""

    own_loss: Loss | None = None

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        return torch.tensor(labels, dtype=torch.float64)

    def count(self, labels: Sequence[Any]) -> float:
        return float(len(labels))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        predicted, labels = logits.squeeze(-1), labels.to(logits)
        if self.own_loss is None:
            total = F.mse_loss(predicted, labels, reduction="sum")
        else:
            total = losses_one_by_one(self.own_loss, predicted, labels).sum()
        return LossSum(total=total, count=float(len(labels)))

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        predicted = logits.squeeze(-1)
        losses = None if labels is None else (predicted - labels.to(logits)) ** 2
        return {"predicted": predicted, "expected": labels, "scores": None, "losses": losses}


Objective: TypeAlias = SingleLabel | MultiLabel | Regression
