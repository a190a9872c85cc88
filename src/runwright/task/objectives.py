"""What is trained on for a vector of logits: one class, several classes, or a number.

Losses are sums with a denominator. Predictions carry the plain loss of each example: no smoothing, no
weights, so that evaluation figures of differently trained runs can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.task.losses import Loss, losses_one_by_one
from runwright.types import LossSum, Predictions

IGNORED = -100  # a label that is not trained on
PROBLEM_TYPES = {  # transformers' names, stored in the saved model
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


class Objective(Protocol):
    """One kind of problem; logits are [B, C], labels as `tensor` makes them."""

    def tensor(self, labels: Sequence[Any]) -> Tensor: ...

    def count(self, labels: Sequence[Any]) -> float: ...

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum: ...

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        """`predicted`, `expected`, `scores` and `losses` as fields of Predictions."""
        ...


class SingleLabel:
    """Cross-entropy as torch defines it, with smoothing and class weights, or another loss.

    Labels are [B] int64, of which -100 is ignored.
    """

    def __init__(
        self, *, label_smoothing: float, class_weights: Sequence[float] | None, own_loss: Loss | None = None
    ) -> None:
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.own_loss = own_loss

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        """[B] int64."""
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


class MultiLabel:
    """Binary cross-entropy averaged over the C labels; labels [B, C] float32 of 0 and 1.

    `class_weights` weigh the positives of each label. Smoothing moves targets towards one half.
    """

    def __init__(
        self,
        *,
        num_labels: int,
        label_smoothing: float,
        class_weights: Sequence[float] | None,
        threshold: float,
        own_loss: Loss | None = None,
    ) -> None:
        self.num_labels = num_labels
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.threshold = threshold
        self.own_loss = own_loss

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        """[B, C] float32 from lists of label ids."""
        hot = torch.zeros(len(labels), self.num_labels)
        for row, ids in enumerate(labels):
            hot[row, list(ids)] = 1.0
        return hot

    def count(self, labels: Sequence[Any]) -> float:
        """Number of examples."""
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
        scores = logits.sigmoid()
        losses = None
        if labels is not None:
            each = F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none")
            losses = each.mean(dim=1)
        expected = None if labels is None else labels.bool()
        return {
            "predicted": scores >= self.threshold,
            "expected": expected,
            "scores": scores,
            "losses": losses,
        }


class Regression:
    """Squared error of the only logit, or another loss; labels [B] float64."""

    def __init__(self, *, own_loss: Loss | None = None) -> None:
        self.own_loss = own_loss

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        """[B] float64, as the data has them."""
        return torch.tensor(labels, dtype=torch.float64)

    def count(self, labels: Sequence[Any]) -> float:
        """Number of examples."""
        return float(len(labels))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Sum of squared errors."""
        predicted, labels = logits.squeeze(-1), labels.to(logits)
        if self.own_loss is None:
            total = F.mse_loss(predicted, labels, reduction="sum")
        else:
            total = losses_one_by_one(self.own_loss, predicted, labels).sum()
        return LossSum(total=total, count=float(len(labels)))

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        """The logit itself."""
        predicted = logits.squeeze(-1)
        losses = None if labels is None else (predicted - labels.to(logits)) ** 2
        return {"predicted": predicted, "expected": labels, "scores": None, "losses": losses}


def make_objective(
    problem: str,
    *,
    num_labels: int,
    label_smoothing: float,
    class_weights: Sequence[float] | None,
    threshold: float,
    own_loss: Loss | None,
) -> Objective:
    """What a problem is trained on; `own_loss` None: cross-entropy, or squared error for numbers."""
    if problem == "regression":
        return Regression(own_loss=own_loss)
    shared: dict[str, Any] = {
        "label_smoothing": label_smoothing,
        "class_weights": class_weights,
        "own_loss": own_loss,
    }
    if problem == "single_label":
        return SingleLabel(**shared)
    return MultiLabel(num_labels=num_labels, threshold=threshold, **shared)


def as_predictions(fields: dict[str, Tensor | None], batch: dict[str, Tensor]) -> Predictions:
    """Predictions on the CPU as numpy arrays, floats in float64."""
    arrays = {name: None if tensor is None else _numpy(tensor) for name, tensor in fields.items()}
    predicted = arrays["predicted"]
    assert predicted is not None
    return Predictions(
        example_ids=_numpy(batch["example_ids"]),
        predicted=predicted,
        expected=arrays["expected"],
        scores=arrays["scores"],
        losses=arrays["losses"],
        groups=_numpy(batch["groups"]) if "groups" in batch else None,
    )


def _numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.double() if tensor.is_floating_point() else tensor).cpu().numpy()
