"""Our loop against transformers' Trainer on the same rows, model, optimizer and batch size."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

from benchmarks.setting import Setting, run_loop, use_dense_gradients


def trainer_pair(setting: Setting) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our loop against transformers' Trainer; both draw their own random batches of the same size."""

    def trainer() -> float:
        import transformers

        stepper, scheduler, _ = setting.parts()
        examples = setting.prepared.examples["train"]
        rows = [
            {"input_ids": e["input_ids"], "labels": e["labels"]} for e in examples.fetch(range(len(examples)))
        ]
        tokenizer = setting.prepared.tokenizer
        with tempfile.TemporaryDirectory() as folder:
            made = transformers.Trainer(
                model=use_dense_gradients(stepper.model),
                args=transformers.TrainingArguments(
                    output_dir=folder,
                    per_device_train_batch_size=setting.config["trainer"]["batch_size"],
                    max_steps=setting.steps,
                    max_grad_norm=setting.config["trainer"]["max_grad_norm"],
                    save_strategy="no",
                    report_to=[],
                    disable_tqdm=True,
                    use_cpu=stepper.ranks.device.type == "cpu",
                ),
                train_dataset=rows,  # type: ignore[arg-type] - any sized sequence of rows does
                data_collator=transformers.DataCollatorWithPadding(tokenizer),
                optimizers=(stepper.optimizer, scheduler),
            )
            began = time.perf_counter()
            made.train()
            return time.perf_counter() - began

    return lambda: run_loop(setting), trainer
