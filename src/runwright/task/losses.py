"""What can be trained on instead of cross-entropy: focal loss, and what a function of one's own must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.errors import ConfigError
from runwright.types import Fraction, NonNegativeFloat, PositiveFloat


class Loss(Protocol):
    """Losses one by one, so that they may be summed over any cut: nothing may be taken across examples.

    `labels` are [N] int64 with logits [N, C]; [N, C] of 0.0 and 1.0 with logits [N, C] where an example has
    a set of labels; [N] with logits [N] for numbers. The result has the shape of the labels.
    """

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor: ...


@runtime_checkable
class ClassLoss(Protocol):
    """A loss that wants to know the classes before it is used."""

    def use_classes(self, names: Sequence[str]) -> None:
        """Take over the names, in the order of their ids."""
        ...


class Focal:
    """-alpha (1 - p)^gamma log(p) of the probability p of what is true: what is easy counts less.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5. For sets of labels each label is a
    binary problem: alpha weighs it where it is there, 1 - alpha where it is not, as in the paper.
    """

    def __init__(self, *, gamma: NonNegativeFloat, alpha: Fraction | dict[str, PositiveFloat] | None) -> None:
        self.gamma = gamma
        self.alpha = alpha
        self.weights: float | list[float] | None = alpha if isinstance(alpha, float | int) else None

    def use_classes(self, names: Sequence[str]) -> None:
        """Put the weights in the order of the classes; raises ConfigError unless each class has one."""
        if not isinstance(self.alpha, dict):
            return
        unknown, missing = sorted(set(self.alpha) - set(names)), sorted(set(names) - set(self.alpha))
        if unknown or missing:
            raise ConfigError(
                f"task.loss.alpha: one weight for each class; unknown {unknown}, missing {missing}"
            )
        self.weights = [float(self.alpha[name]) for name in names]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[N] for classes, [N, C] for sets of labels, in nats."""
        weights = None if self.weights is None else logits.new_tensor(self.weights)
        if labels.dim() == 2:
            signs = 2 * labels - 1
            each = self._focal(F.logsigmoid(signs * logits), F.logsigmoid(-signs * logits))
            return each if weights is None else each * (labels * weights + (1 - labels) * (1 - weights))
        chosen = labels.unsqueeze(1)
        whole = logits.logsumexp(dim=1)
        others = logits.scatter(1, chosen, -torch.inf).logsumexp(dim=1)
        each = self._focal(logits.gather(1, chosen).squeeze(1) - whole, others - whole)
        return each if weights is None else each * weights[labels]

    def _focal(self, log_p: Tensor, log_rest: Tensor) -> Tensor:
        """From log(p) and log(1 - p): a power of 1 - p itself has no gradient at 0 for gamma below 1."""
        return -(self.gamma * log_rest).exp() * log_p


def loss_of_task(loss: Any, names: Sequence[str]) -> Loss | None:
    """The loss of a task's options, told the classes; raises ConfigError where it is none."""
    if loss is not None and not callable(loss):
        raise ConfigError(
            f"task.loss: given {type(loss).__name__}, expected a function of logits and labels, or a class "
            "whose instances are called with them"
        )
    if isinstance(loss, ClassLoss):
        loss.use_classes(names)
    return cast(Loss | None, loss)


def losses_one_by_one(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """What a loss gives, of the shape of the labels; raises ConfigError for a sum or a mean."""
    each = loss(logits, labels)
    if isinstance(each, Tensor) and each.shape == labels.shape:
        return each
    given = f"a tensor {list(each.shape)}" if isinstance(each, Tensor) else type(each).__name__
    raise ConfigError(
        f"task.loss: given {given}, expected {list(labels.shape)}, the shape of the labels: one loss each "
        "(reduction='none'), the sum is taken by the task"
    )
