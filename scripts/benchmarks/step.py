"""Our loop against a bare PyTorch loop on the same padded microbatches."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.setting import Setting, run_loop, use_dense_gradients


def step_pair(setting: Setting) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our whole loop against the shortest loop that computes the same from ready tensors."""
    _, _, batches = setting.parts()
    ready = [batches.at(step) for step in range(setting.steps)]

    def bare() -> float:
        stepper, scheduler, _ = setting.parts()
        model, task, optimizer = stepper.model, stepper.task, stepper.optimizer
        parameters = stepper.parameters
        model.train()
        import torch

        use_dense_gradients(model)
        began = time.perf_counter()
        for batch in ready:
            count = sum(microbatch.count for microbatch in batch.microbatches)
            for microbatch in batch.microbatches:
                loss = task.loss(task.forward(model, microbatch.batch), microbatch.batch)
                (loss.total / count).backward()
            torch.nn.utils.clip_grad_norm_(parameters, stepper.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    return lambda: run_loop(setting), bare
