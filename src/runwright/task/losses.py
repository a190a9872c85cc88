"""Losses and predictions from a vector of logits: one class, a set of classes, or a number.

Losses are sums with a denominator. Predictions carry the plain loss of each example: no smoothing, no
weights, so that evaluation metrics of differently trained runs can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.config.targets import positional
from runwright.errors import ConfigError
from runwright.task.text import IGNORED
from runwright.types import LossSum, NonNegativeFloat

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Losses of logits and labels one by one, so that they may be summed over any cut of a batch.

`labels` are [N] int64 with logits [N, C]; [N, C] of 0.0 and 1.0 with logits [N, C] where an example has a set
of labels; [N] with logits [N] for numbers. The result has the shape of the labels.
"""


class Focal:
    """-(1 - p)^gamma log(p) of the probability p of the true label: easy examples count less.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 4. For sets of labels each label is a
    binary problem. The weights of its equation 5 are `task.class_weights`.
    """

    def __init__(self, *, gamma: NonNegativeFloat) -> None:
        self.gamma = gamma

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[N] for classes, [N, C] for sets of labels, in nats."""
        if labels.dim() == 2:
            signs = 2 * labels - 1
            log_p, log_rest = F.logsigmoid(signs * logits), F.logsigmoid(-signs * logits)
        else:
            classes = labels.unsqueeze(1)
            whole = logits.logsumexp(dim=1)
            log_p = logits.gather(1, classes).squeeze(1) - whole
            log_rest = logits.scatter(1, classes, -torch.inf).logsumexp(dim=1) - whole
        # A power of 1 - p itself has no gradient at 0 for gamma below 1.
        return -(self.gamma * log_rest).exp() * log_p


def loss_of_task(loss: Any) -> Any:
    """The loss of a task's options; raises ConfigError where it is none."""
    if loss is not None and not callable(loss):
        expected = "expected a function of logits and labels, or a class whose instances are called with them"
        raise ConfigError(f"task.loss: given {type(loss).__name__}, {expected}")
    if loss is not None and takes_batch(loss):
        raise ConfigError("task.loss: given a function of a batch, expected one of logits and labels alone")
    return loss


def takes_batch(loss: Any) -> bool:
    """Return True for a function of logits, labels and the batch that they are of."""
    return "batch" in positional(loss)


def one_by_one(loss: Any, logits: Tensor, labels: Tensor, batch: Any = None) -> Tensor:
    """The losses, of the shape of the labels; raises ConfigError for a sum or a mean.

    Labels of a language model are those of the M targets of a batch, in its order.
    """
    losses = loss(logits, labels, batch) if batch is not None and takes_batch(loss) else loss(logits, labels)
    if isinstance(losses, Tensor) and losses.shape == labels.shape:
        return losses
    result = f"a tensor {list(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
    expected = f"expected {list(labels.shape)}, the shape of the labels: one loss each (reduction='none')"
    raise ConfigError(f"task.loss: given {result}, {expected}, the sum is taken by the task")


@dataclass(frozen=True, kw_only=True, slots=True)
class SingleLabel:
    """Cross-entropy as torch defines it, with smoothing and class weights, or another loss.

    Logits are [B, C], labels [B] int64, of which -100 is ignored.
    """

    label_smoothing: float
    class_weights: Sequence[float] | None  # [C]
    loss_function: Loss | None = None

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        return torch.tensor(labels, dtype=torch.int64)

    def count(self, labels: Sequence[Any]) -> float:
        """Number of labels, or the sum of the weights of their classes."""
        labels = [label for label in labels if label != IGNORED]
        weights = self.class_weights
        return float(len(labels) if weights is None else sum(weights[label] for label in labels))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Sum over labels, in nats."""
        count = self.count(labels.tolist())
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if self.loss_function is None:
            total = F.cross_entropy(
                logits, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="sum"
            )
        else:
            logits, labels = logits[labels != IGNORED], labels[labels != IGNORED]
            losses = one_by_one(self.loss_function, logits, labels)
            total = (losses if weights is None else losses * weights[labels]).sum()
        return LossSum(total=total, count=count)

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        """The most probable class, and the probabilities of all."""
        losses = None if labels is None else F.cross_entropy(logits, labels, reduction="none")
        predicted, scores = logits.argmax(dim=-1), logits.softmax(dim=-1)
        return {"predicted": predicted, "expected": labels, "scores": scores, "losses": losses}


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiLabel:
    """Binary cross-entropy averaged over the C labels; labels [B, C] float32 of 0 and 1.

    `class_weights` weigh the positives of each label. Smoothing moves targets towards one half.
    """

    num_labels: int
    label_smoothing: float
    class_weights: Sequence[float] | None  # [C]
    threshold: float
    loss_function: Loss | None = None

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
        if self.loss_function is None:
            targets = labels.to(logits) * (1 - self.label_smoothing) + self.label_smoothing / 2
            losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
        else:
            losses = one_by_one(self.loss_function, logits, labels.to(logits))
            losses = losses if weights is None else torch.where(labels > 0, losses * weights, losses)
        return LossSum(total=losses.mean(dim=1).sum(), count=float(len(labels)))

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        """Every label whose probability reaches the threshold, and all probabilities."""
        scores, losses = logits.sigmoid(), None
        if labels is not None:
            losses = F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none").mean(1)
            labels = labels.bool()
        return {"predicted": scores >= self.threshold, "expected": labels, "scores": scores, "losses": losses}


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """Squared error of the only logit, or another loss; labels [B] float64."""

    loss_function: Loss | None = None

    def tensor(self, labels: Sequence[Any]) -> Tensor:
        return torch.tensor(labels, dtype=torch.float64)

    def count(self, labels: Sequence[Any]) -> float:
        return float(len(labels))

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        predicted, labels = logits.squeeze(-1), labels.to(logits)
        if self.loss_function is None:
            total = F.mse_loss(predicted, labels, reduction="sum")
        else:
            total = one_by_one(self.loss_function, predicted, labels).sum()
        return LossSum(total=total, count=float(len(labels)))

    def predict(self, logits: Tensor, labels: Tensor | None) -> dict[str, Tensor | None]:
        predicted = logits.squeeze(-1)
        losses = None if labels is None else (predicted - labels.to(logits)) ** 2
        return {"predicted": predicted, "expected": labels, "scores": None, "losses": losses}


Objective: TypeAlias = SingleLabel | MultiLabel | Regression
