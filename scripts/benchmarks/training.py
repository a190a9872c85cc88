"""Training: our loop, the loops that people use and the limit, on the same examples in the same order."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.setting import Setting, run_loop, use_dense_gradients

Contender = Callable[[Setting], tuple[float, Any]]  # -> seconds, trained model


def ours(setting: Setting) -> tuple[float, Any]:
    """The whole loop with its journal, its microbatches and the usual execution without padding."""
    return run_loop(setting)


def limit(setting: Setting) -> tuple[float, Any]:
    """A bare loop without padding: ready tensors, one row of tokens for each batch, and nothing else."""
    return _bare(setting.with_attention("auto"))


def padded(setting: Setting) -> tuple[float, Any]:
    """A bare loop with each batch padded to its longest example."""
    return _bare(setting.with_attention("sdpa"))


def _bare(setting: Setting) -> tuple[float, Any]:
    import torch

    stepper, scheduler, batches = setting.parts()
    model, task, optimizer = use_dense_gradients(stepper.model), stepper.task, stepper.optimizer
    examples = setting.prepared.examples["train"]
    ready = [
        task.collate(task.augment(examples.fetch(batches.positions(step)), seed=0, epoch=0))
        for step in range(setting.steps)
    ]
    model.train()
    began = time.perf_counter()
    for batch in ready:
        loss = task.loss(task.forward(model, batch), batch)
        (loss.total / loss.count).backward()
        if stepper.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(stepper.parameters, stepper.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - began, model


def trainer(setting: Setting, *, strategy: str = "sequential") -> tuple[float, Any]:
    """The Trainer of transformers with its defaults; the loss is that of the model's own head."""
    import transformers

    stepper, scheduler, batches = setting.with_attention("sdpa").parts()
    with tempfile.TemporaryDirectory() as folder:
        loop = transformers.Trainer(
            model=use_dense_gradients(stepper.model),
            args=transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=setting.config["trainer"]["batch_size"],
                max_steps=setting.steps,
                max_grad_norm=stepper.max_grad_norm or 0.0,
                train_sampling_strategy=strategy,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=stepper.ranks.device.type == "cpu",
            ),
            train_dataset=_rows_of_all_steps(setting, batches),  # type: ignore[arg-type] - any sized sequence of rows does
            data_collator=transformers.DataCollatorWithPadding(setting.prepared.tokenizer),
            optimizers=(stepper.optimizer, scheduler),
        )
        began = time.perf_counter()
        loop.train()
        return time.perf_counter() - began, stepper.model


def _rows_of_all_steps(setting: Setting, batches: Any) -> list[dict[str, Any]]:
    places = [int(place) for step in range(setting.steps) for place in batches.positions(step)]
    return setting.rows(setting.prepared.examples["train"], places)


def trainer_by_length(setting: Setting) -> tuple[float, Any]:
    """The Trainer with batches of similar lengths, which are other batches than everybody else's."""
    return trainer(setting, strategy="group_by_length")


def accelerate_loop(setting: Setting) -> tuple[float, Any]:
    """The loop of Accelerate's examples: its loader, its backward, its optimizer."""
    import accelerate
    import torch
    import transformers

    stepper, scheduler, batches = setting.with_attention("sdpa").parts()
    loader: Any = torch.utils.data.DataLoader(
        _rows_of_all_steps(setting, batches),  # type: ignore[arg-type] - any sized sequence of rows does
        batch_size=setting.config["trainer"]["batch_size"],
        collate_fn=transformers.DataCollatorWithPadding(setting.prepared.tokenizer),
    )
    accelerator = accelerate.Accelerator(cpu=stepper.ranks.device.type == "cpu")
    model = use_dense_gradients(stepper.model)
    model, optimizer, loader = accelerator.prepare(model, stepper.optimizer, loader)
    model.train()
    began = time.perf_counter()
    for batch in loader:
        accelerator.backward(model(**batch).loss)
        if stepper.max_grad_norm:
            accelerator.clip_grad_norm_(model.parameters(), stepper.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return time.perf_counter() - began, accelerator.unwrap_model(model)


CONTENDERS: Mapping[str, Contender] = {
    "ours": ours,
    "limit": limit,
    "padded loop": padded,
    "Trainer": trainer,
    "Trainer by length": trainer_by_length,
    "Accelerate loop": accelerate_loop,
}
