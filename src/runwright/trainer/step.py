"""One update: a global batch goes in, the weights move once, and sums with their denominator come out.

The loss of a step is (sum over all microbatches of all ranks) / (one count over all of them), so neither
the cut into microbatches nor the number of processes changes it. Gradients likewise: each microbatch is
divided by the global count before its backward, then gradients are summed.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from runwright.errors import RunwrightError
from runwright.trainer.batches import Microbatch, StepBatch, derive_seed
from runwright.trainer.ranks import Ranks, gather_rows, sum_gradients
from runwright.types import Batch, LossSum, Task

logger = logging.getLogger(__name__)

NonFinite = Literal["stop", "skip", "warn"]


class NonFiniteError(RunwrightError):
    """The loss or the gradient is NaN or infinite, and the policy is to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """Loss, gradient norm and stop code of one update."""

    loss: float  # total / count over the global batch; 0 where there is nothing to train on
    gradient_norm: float  # of the whole gradient, before clipping
    stop: int  # the largest stop code that any rank had when the step began; 0: go on


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """Everything an update needs besides the batch."""

    model: torch.nn.Module
    task: Task
    optimizer: torch.optim.Optimizer
    parameters: Sequence[torch.nn.Parameter]  # trainable ones, in a fixed order
    ranks: Ranks
    dropout_seed: int
    max_grad_norm: float | None
    non_finite: NonFinite

    def step(self, batch: StepBatch, *, stop: int = 0) -> StepResult:
        """Forward and backward of this rank's microbatches, one gradient sum, one optimizer step.

        `stop` is this rank's wish to end after this step; it travels with the counts, so that all ranks
        end after the same one. Raises NonFiniteError under the policy "stop"; the weights are untouched.
        """
        counts, stop = self._agree(batch, stop)
        if not any(counts):  # sentences without a word, answers that are nowhere, texts that are all masks
            logger.warning(
                "step %d: none of its %d examples has anything to train on; the weights stay as they are",
                batch.step + 1,
                batch.num_examples,
            )
            return StepResult(loss=0.0, gradient_norm=0.0, stop=stop)
        self.model.train()
        if self.task.coupled_loss is not None:
            loss = self._coupled_backward(self.task.coupled_loss, batch, *counts)
        else:
            loss = self._backward(batch, counts)
        if not self.ranks.sharded:  # fully_shard summed them in the backward
            sum_gradients(self.parameters, self.ranks)
        if scaler := self.ranks.scaler:
            scaler.unscale_(self.optimizer)
        norm = self.ranks.clip(self.parameters, self.max_grad_norm or math.inf)
        self._update(batch.step, loss, norm)
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss=loss, gradient_norm=norm, stop=stop)

    def _backward(self, batch: StepBatch, counts: Sequence[float]) -> float:
        """Gradients of this rank's microbatches; the loss of the batch, of several losses their sum."""
        totals = torch.zeros(len(batch.sizes), len(counts), dtype=torch.float64)
        if not batch.microbatches:
            self._scaled(torch.zeros((), device=self.ranks.device))  # a scaler begins with the first loss
        for microbatch in batch.microbatches:
            total = self._loss(batch.step, microbatch)
            losses = zip(total.reshape(-1), counts, strict=True)
            self._scaled(torch.stack([one / (count or 1.0) for one, count in losses]).sum()).backward()
            totals[microbatch.index] = total.detach().cpu().double()  # MPS has no float64
        for filler in batch.fillers:  # for the ranks that run more
            (0.0 * self._loss(batch.step, filler)).sum().backward()
        # one addend a microbatch and a fixed order: the same bits on any number of processes
        sums = self.ranks.sum_vector(totals.T.flatten()).view(len(counts), -1).tolist()
        return sum(math.fsum(addends) / (count or 1.0) for addends, count in zip(sums, counts, strict=True))

    def rehearse(self, microbatch: Microbatch) -> None:
        """Forward and backward of a microbatch alone, which take the memory that they take in a step."""
        if self.task.coupled_loss is not None:
            self._outputs(0, microbatch, keep_graph=True).sum().backward()
        else:
            self._scaled(self._loss(0, microbatch).sum()).backward()

    def _loss(self, step: int, microbatch: Microbatch) -> torch.Tensor:
        self._seed(step, microbatch)
        with self.ranks.autocast():
            inputs = to_device(microbatch.batch, self.ranks.device)
            return self.task.loss(self.task.forward(self.model, inputs), inputs).total

    def _coupled_backward(
        self, coupled_loss: Callable[[torch.Tensor], LossSum], batch: StepBatch, count: float
    ) -> float:
        """The same for a loss over the whole batch: its gradient by the outputs first, then by the weights.

        Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup". The second
        forward of a microbatch has the seed of the first, so dropout is the same in both.
        """
        rows = [self._outputs(batch.step, microbatch, keep_graph=False) for microbatch in batch.microbatches]
        for filler in batch.fillers:
            self._outputs(batch.step, filler, keep_graph=False)
        indices = [microbatch.index for microbatch in batch.microbatches]
        everything = gather_rows(dict(zip(indices, rows, strict=True)), batch.sizes, self.ranks)
        everything.requires_grad_()
        loss = coupled_loss(everything)
        self._scaled(loss.total / count).backward()
        assert everything.grad is not None, "the loss does not depend on the outputs"
        parts = everything.grad.split(batch.sizes)
        for microbatch in batch.microbatches:
            outputs = self._outputs(batch.step, microbatch, keep_graph=True)
            outputs.backward(parts[microbatch.index].to(outputs))
        for filler in batch.fillers:
            (0.0 * self._outputs(batch.step, filler, keep_graph=True).sum()).backward()
        return loss.total.detach().double().item() / count

    def _outputs(self, step: int, microbatch: Microbatch, *, keep_graph: bool) -> torch.Tensor:
        self._seed(step, microbatch)
        with torch.set_grad_enabled(keep_graph), self.ranks.autocast():
            return self.task.forward(self.model, to_device(microbatch.batch, self.ranks.device))

    def _seed(self, step: int, microbatch: Microbatch) -> None:
        # The same dropout whichever process runs a microbatch, and however often. A restored generator is not
        # enough: starting accelerate's loader drew from it, and none of 9 losses after a resume was equal.
        torch.manual_seed(derive_seed("dropout", self.dropout_seed, step, microbatch.index))

    def _scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return self.ranks.scaler.scale(loss) if self.ranks.scaler else loss

    def _agree(self, batch: StepBatch, stop: int) -> tuple[list[float], int]:
        """The denominator of each loss over all microbatches, and the largest stop code."""
        counts = torch.zeros(self.task.num_losses, len(batch.sizes), dtype=torch.float64)
        for microbatch in batch.microbatches:
            counts[:, microbatch.index] = torch.tensor(microbatch.count, dtype=torch.float64)
        stops = torch.zeros(self.ranks.num_ranks, dtype=torch.float64)
        stops[self.ranks.rank] = stop
        agreed = self.ranks.sum_vector(torch.cat([counts.flatten(), stops]))
        sums = [math.fsum(addends) for addends in agreed[: counts.numel()].view_as(counts).tolist()]
        assert min(sums) >= 0, f"step {batch.step}: the denominators of the losses are {sums}"
        return sums, int(agreed[counts.numel() :].max())

    def _update(self, step: int, loss: float, norm: float) -> None:
        if scaler := self.ranks.scaler:
            # fp16: an infinite gradient is expected now and then; the scaler skips and adapts
            scaler.step(self.optimizer)
            scaler.update()
            return
        finite = math.isfinite(loss) and math.isfinite(norm)
        if not finite and self.non_finite == "stop":
            raise NonFiniteError(
                f"step {step + 1}: loss {loss}, gradient norm {norm}. Lower optimizer.lr, set "
                "trainer.max_grad_norm, or go past such steps with trainer.non_finite=skip"
            )
        if finite or self.non_finite == "warn":
            self.optimizer.step()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device; copies overlap with computation where memory is pinned."""
    if device.type == "cpu":
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
