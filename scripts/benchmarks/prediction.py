"""Prediction: ours, Trainer.predict and the limit, on the rows of one split in their own order."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.setting import Setting

SPLITS = ("test", "validation", "train")  # the first that there is
LIMIT_TOKENS = 2048  # of a forward: enough for the matrix products to run at their best


def _examples(setting: Setting) -> Any:
    return next(setting.prepared.examples[split] for split in SPLITS if split in setting.prepared.examples)


def ours(setting: Setting) -> float:
    """Predictions in the order of the rows, as `evaluate` and `predict` make them."""
    from runwright.trainer.evaluate import predict

    stepper, _, _ = setting.parts()
    examples, tokens = _examples(setting), setting.config["trainer"]["evaluate_tokens"]
    began = time.perf_counter()
    predict(stepper.model, stepper.task, examples, max_tokens=tokens, ranks=stepper.ranks)
    return time.perf_counter() - began


def limit(setting: Setting) -> float:
    """Forward passes without padding over ready tensors, and nothing else."""
    import torch

    from runwright.trainer.batches import Cut, cut_batch

    stepper, _, _ = setting.parts()
    examples, task = _examples(setting), stepper.task
    cut = cut_batch(examples.lengths, Cut(microbatch_tokens=LIMIT_TOKENS, padded=False))
    ready = [task.collate(task.augment(examples.fetch(places), seed=0, epoch=0)) for places in cut]
    model = stepper.model.eval()
    began = time.perf_counter()
    with torch.inference_mode():
        for batch in ready:
            task.forward(model, batch)
    return time.perf_counter() - began


def trainer(setting: Setting, *, batch_size: int) -> float:
    """Trainer.predict, which takes the rows as they come."""
    import transformers

    stepper, _, _ = setting.with_attention("sdpa").parts()
    examples = _examples(setting)
    rows = setting.rows(examples, range(len(examples)))
    with tempfile.TemporaryDirectory() as folder:
        made = transformers.Trainer(
            model=stepper.model,  # type: ignore[arg-type] - it is a model of transformers
            args=transformers.TrainingArguments(
                output_dir=folder,
                per_device_eval_batch_size=batch_size,
                report_to=[],
                disable_tqdm=True,
                use_cpu=stepper.ranks.device.type == "cpu",
            ),
            data_collator=transformers.DataCollatorWithPadding(setting.prepared.tokenizer),
        )
        began = time.perf_counter()
        made.predict(rows)  # type: ignore[arg-type] - any sized sequence of rows does
        return time.perf_counter() - began


CONTENDERS: Mapping[str, Callable[[Setting], float]] = {
    "ours": ours,
    "limit": limit,
    "Trainer, batches of 8": partial(trainer, batch_size=8),
    "Trainer, batches of 32": partial(trainer, batch_size=32),
}


def num_tokens(setting: Setting) -> int:
    """Real tokens of the split."""
    return int(_examples(setting).lengths.sum())
