"""Losses of the target tokens of a language model, without the logits of a whole microbatch in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.model.parameters import without_adapters
from runwright.task.base import Task, at_least_float32
from runwright.task.losses import one_by_one, takes_batch
from runwright.task.text import IGNORED, num_targets, sums_by_row
from runwright.types import Batch, Example, LossSum, PerExample

# Logits at a time, rounded up: more than 32 MB in float32, which glibc gives back at once. A little less lay
# on its heap and took 1,060 MB rather than 70 in the forward of 8,192 tokens over V = 32,000.
PIECE = (1 << 23) + 1
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-6}  # of the largest logit; less exact dtypes: 0.02

_by_pieces: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # models whose logits were compared with ours


class TargetTask(Task):
    """A task whose `forward` returns the losses of the target tokens [M] in nats, in the order of the batch.

    Its batches have `labels` [B, L], the target token of each position or IGNORED, where targets are known.
    """

    prediction_type = PerExample
    label_smoothing = 0.0

    def count(self, examples: Sequence[Example]) -> float:
        return num_targets(examples)

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over target tokens in nats, from their losses [M]."""
        return LossSum(total=outputs.sum(), count=float(outputs.numel()))

    def predictions(self, outputs: Tensor, batch: Batch) -> Any:
        """Losses of each example, from those of its target tokens [M]."""
        losses, counts = sums_by_row(outputs, batch["labels"] != IGNORED)
        ids = batch["example_ids"].cpu().numpy()
        return self.prediction_type(example_ids=ids, losses=losses, loss_counts=counts)

    def target_losses(self, model: Any, inputs: Batch, batch: Batch) -> Tensor:
        """Losses of the target tokens [M] in nats; smoothed, or those of task.loss, in training only."""
        if model.training and self.loss_option is not None:
            loss = partial(one_by_one, self.loss_option, batch=batch)
            return token_losses(
                model, inputs, batch["labels"], loss=loss, whole=takes_batch(self.loss_option)
            )
        smoothing = self.label_smoothing if model.training else 0.0
        return token_losses(model, inputs, batch["labels"], label_smoothing=smoothing)


def token_losses(
    model: Any,
    inputs: Batch,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    loss: Any = None,
    whole: bool = False,
) -> Tensor:
    """Losses in nats of the M labels [B, L] that are not -100, in their order: [M], at least in float32.

    Labels are shifted already, `inputs` are the model's arguments. The head sees the states of the targets
    alone, some at a time, and computes them again in the backward; `whole`: at once. With label smoothing a
    loss is that of a target that has 1 - smoothing, and an equal share of the rest on every token of the
    vocabulary. `loss` is another function of logits [M, V] and labels [M].
    """
    inner = without_adapters(model)
    head, targets = inner.get_output_embeddings(), labels != IGNORED
    goal = labels[targets]
    loss = loss or partial(F.cross_entropy, reduction="none", label_smoothing=label_smoothing)
    finish = _finisher(inner)
    losses: list[Tensor] = []
    last: list[Tensor] = []  # our logits of the last target, compared with the model's

    def pick(module: Any, args: tuple[Any, ...]) -> Any:
        if not args or args[0].shape[:2] != labels.shape:
            return None
        states = args[0][targets]

        def piece_losses(logits: Tensor, goal: Tensor) -> Tensor:
            return loss(at_least_float32(finish(logits)), goal)

        losses.append(_Pieces.apply(states, module.weight, module.bias, goal, piece_losses))  # pyright: ignore
        if inner not in _by_pieces:
            last.append(finish(module.forward(states[None, -1:])).detach())
        return (states[None, -1:], *args[1:])  # keeps the head in the graph, as sharded models want

    if type(head) is torch.nn.Linear and not whole and _by_pieces.get(inner, True):
        with head.register_forward_pre_hook(pick):
            logits = model(**inputs, use_cache=False).logits
        if last and last[0].numel():
            difference = float((last[0] - logits.detach()).abs().max() / last[0].abs().max().clamp(min=1e-9))
            _by_pieces[inner] = difference <= TOLERANCES.get(logits.dtype, 0.02)
        if losses and _by_pieces.get(inner, True):
            return losses[0] + 0.0 * logits.sum()
        _by_pieces[inner] = False
    # a head that computes something else
    return loss(at_least_float32(model(**inputs, use_cache=False).logits[targets]), goal)


def _finisher(model: Any) -> Callable[[Tensor], Tensor]:
    """The function by which the model's forward scales, shifts and caps the output of its head."""
    config = model.config.get_text_config(decoder=True)
    factor = getattr(config, "logit_scale", None)  # Cohere
    divisor = getattr(config, "logits_scaling", None)  # Granite
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    bias = getattr(model, "final_logits_bias", None)  # BART, Marian

    def finish(logits: Tensor) -> Tensor:
        logits = logits if factor is None else logits * factor
        logits = logits if divisor is None else logits / divisor
        logits = logits if cap is None else torch.tanh(logits / cap) * cap
        return logits if bias is None else logits + bias[0]

    return finish


class _Pieces(torch.autograd.Function):
    """Losses of states [M, D] under weight [V, D] and bias, with logits of a few at a time.

    torch's linear_cross_entropy gives bfloat16 losses for such states and takes no soft-capping; a loop of
    checkpoints kept a gradient of the weight for each piece (1.3 GB at V = 32,000 and M = 8,192).
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Any, goal: Tensor, loss: Any) -> Tensor:
        ctx.save_for_backward(states, weight, bias, goal)
        device = states.device.type
        autocast = torch.is_autocast_enabled(device)
        ctx.loss, ctx.dtype = loss, torch.get_autocast_dtype(device) if autocast else states.dtype
        table, shift = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        size = -(-PIECE // len(weight))
        pieces = zip(states.to(ctx.dtype).split(size), goal.split(size), strict=True)
        return torch.cat([loss(F.linear(some, table, shift), goals) for some, goals in pieces])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        states, weight, bias, goal = ctx.saved_tensors
        table, shift = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        to_states, to_weight = torch.empty_like(states), torch.zeros_like(weight)
        to_bias = None if bias is None else torch.zeros_like(bias)
        size = -(-PIECE // len(weight))
        for start in range(0, len(states), size):
            piece = slice(start, start + size)
            some = states[piece].to(ctx.dtype)
            logits = F.linear(some, table, shift).requires_grad_()
            with torch.enable_grad():
                losses = ctx.loss(logits, goal[piece])
            (slope,) = torch.autograd.grad(losses, logits, gradients[0][piece])
            to_states[piece] = slope @ table
            if weight.dtype == ctx.dtype:
                to_weight.addmm_(slope.T, some)
            else:
                to_weight += slope.T @ some
            if to_bias is not None:
                to_bias += slope.sum(dim=0)
        return to_states, to_weight, to_bias, None, None
