"""The largest microbatch that there is memory for, found with the longest examples before the first step.

Only the cut into microbatches follows from it, which changes speed and memory and neither the batches nor
their gradients.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from runwright.errors import ConfigError
from runwright.trainer.batches import Batches, Picked, StepBatch, make_batch
from runwright.trainer.ranks import ALONE
from runwright.trainer.step import Stepper

ONEDNN = "could not create a primitive"  # all that oneDNN says on a CPU, which accelerate does not know
SPARE_BYTES = 128 << 20  # what a step needs besides: gradients on their way, threads, the next batch, gaps


def largest_fit(stepper: Stepper, batches: Batches) -> int:
    """Tokens of the largest microbatch, counted as `Cut` does, that each rank has memory for.

    Begins with all of the longest `batch_size` examples and halves. Weights and optimizer stay as they are.
    Raises ConfigError where there is no memory for one example.
    """
    widths = batches.examples.widths
    longest = np.argsort(-widths.reshape(len(widths), -1).sum(axis=1), kind="stable")[: batches.batch_size]
    picked = Picked([(batches.examples, longest)])

    def cut(tokens: int | None) -> StepBatch:  # each rank tries all of it
        whole = replace(batches, cut=replace(batches.cut, microbatch_tokens=tokens), ranks=ALONE)
        return make_batch(whole, 0, picked, epoch=0)

    batch = cut(None)
    tokens = batch.padded_tokens
    while any(stepper.ranks.per_rank(float(not _fits(stepper, batch)))):
        sizes = batch.sizes
        if len(sizes) == batch.num_examples:
            raise ConfigError(
                f"trainer.microbatch_tokens: given auto, but there is no memory for one example of "
                f"{int(widths[longest[0]].sum())} tokens, expected a smaller task.max_length, or "
                "trainer.gradient_checkpointing=true"
            )
        while batch.sizes == sizes:
            tokens = tokens // 2
            batch = cut(tokens)
    return tokens


def _fits(stepper: Stepper, batch: StepBatch) -> bool:
    """Run a batch forward and backward beside the optimizer's state; False where memory runs out."""
    clear_device_cache(garbage_collection=True)
    optimizer = stepper.optimizer
    before = deepcopy(optimizer.state_dict())  # some have a state from the beginning
    try:
        spare = torch.empty(SPARE_BYTES, dtype=torch.uint8, device=stepper.ranks.device)
        for parameter in stepper.parameters:
            parameter.grad = torch.zeros_like(parameter)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()  # makes its state, and moves nothing
        stepper.model.train()
        for microbatch in batch.microbatches:
            stepper.rehearse(microbatch)
        del spare
    except (RuntimeError, MemoryError) as error:
        is_short = isinstance(error, MemoryError) or should_reduce_batch_size(error)
        if not (is_short or ONEDNN in str(error)):
            raise
        return False
    finally:
        optimizer.zero_grad(set_to_none=True)
        optimizer.load_state_dict(before)
    return True
