"""The loss and the gradient of one global batch, cut and shared out in any way."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from runwright import build
from runwright.analysis.verify.subject import Subject, weights_kept
from runwright.trainer.batches import Batches, BatchOrder, Cut
from runwright.trainer.ranks import Ranks
from runwright.trainer.sharding import copy_whole
from runwright.types import Example

BATCH_SIZE = 16  # enough for cuts of 4 and 1 to be others than the whole; a large one might not fit uncut


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradient:
    """What one update would be made of."""

    loss: float
    parts: Mapping[str, torch.Tensor]  # by parameter; one without a gradient is not there

    @property
    def norm(self) -> float:
        """Of the whole gradient."""
        return math.sqrt(math.fsum(float(part.double().square().sum()) for part in self.parts.values()))


def measure_gradient(
    subject: Subject, model: torch.nn.Module, *, cut: Cut, ranks: Ranks, dropout_seed: int = 0
) -> Gradient:
    """Loss and gradient of the first global batch by the step that training makes, without clipping.

    The model is left as it was. Where `ranks` are several, all of them must call.
    """
    batches = _batches(subject, cut, ranks)
    if ranks.sharded:
        model = copy.deepcopy(model)  # spreading it over the processes cannot be undone
    parts: dict[str, torch.Tensor] = {}
    ranks = replace(ranks, accelerator=None)  # no autocast, no scaler
    with nullcontext() if ranks.sharded else weights_kept(model):
        stepper = build.build_stepper(subject.config, model=model, task=subject.prepared.task, ranks=ranks)
        optimizer = torch.optim.SGD(stepper.parameters, lr=0.0)
        optimizer.register_step_pre_hook(lambda *_: parts.update(_gradients(model)))
        stepper = replace(
            stepper,
            optimizer=optimizer,
            dropout_seed=dropout_seed,
            max_grad_norm=None,
            non_finite="warn",
        )
        loss = stepper.step(batches.at(0)).loss
    return Gradient(loss=loss, parts=parts)


def compare_gradients(one: Gradient, other: Gradient) -> tuple[float, str]:
    """The largest difference and of what it is: the loss, relative to itself, or a parameter's gradient.

    Gradients are relative to the norm of the whole gradient; what is not a number differs infinitely.
    """
    tiny = torch.finfo(torch.float64).tiny
    norm = max(one.norm, tiny)
    changes = {"loss": abs(one.loss - other.loss) / max(abs(one.loss), tiny)}
    for name in one.parts.keys() | other.parts.keys():
        parts = [each.parts[name].double() for each in (one, other) if name in each.parts]
        changes[name] = float((parts[0] - parts[1] if len(parts) == 2 else parts[0]).norm()) / norm
    known = {name: change if math.isfinite(change) else math.inf for name, change in changes.items()}
    return max((change, name) for name, change in known.items())


def num_examples(subject: Subject) -> int:
    """Of the batch that is measured."""
    return min(BATCH_SIZE, len(subject.train))


def first_examples(subject: Subject) -> list[Example]:
    """The examples of the batch that is measured."""
    positions = _batches(subject, Cut(), subject.alone).order.positions(0)
    examples, seed = subject.train.fetch(positions.tolist()), subject.config["seeds"]["data"]
    return subject.prepared.task.augment(examples, seed=seed, epoch=0)


def _batches(subject: Subject, cut: Cut, ranks: Ranks) -> Batches:
    examples = subject.train
    order = BatchOrder(len(examples), batch_size=num_examples(subject), seed=subject.config["seeds"]["data"])
    task = subject.prepared.task
    return Batches(examples, task, order=order, cut=cut, ranks=ranks)


def _gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    named = dict(model.named_parameters())
    return {name: copy_whole(p.grad) for name, p in named.items() if p.grad is not None}


def switch_off_dropout(model: torch.nn.Module) -> None:
    """No dropout from now on, in modules and in calls of functions that read a module's probability.

    A model may still draw random numbers in other ways.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):  # attention_dropout, hidden_dropout_prob, …
                setattr(module, name, 0.0)


def batch_statistics(model: torch.nn.Module) -> list[str]:
    """Modules that look at all examples of a microbatch together, `name: Class`."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    found = {name: each for name, each in model.named_modules() if isinstance(each, kind)}
    return [f"{name}: {type(each).__name__}" for name, each in found.items()]
