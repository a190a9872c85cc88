"""Seconds and memory against the number of rows: a cold and a warm start, `explore`, and an evaluation."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.start import MODEL as TOKENIZER
from benchmarks.start import first_step

MODEL = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 32}"
OVERRIDES = [
    *("dataset=csv", "dataset.source.files.train=rows.csv", "dataset.holdout.validation=1000"),
    *("model=scratch", f"model.config={MODEL}", f"tokenizer.name={TOKENIZER}", "task.max_length=64"),
    *("trainer=steps", "trainer.max_steps=1", "trainer.device=cpu", "metric=[accuracy]", "name=scale"),
    "tracker=console",
]


def measure_scale(numbers: list[int]) -> dict[str, list[float]]:
    """Seconds (of a start: until its first step) and peak GiB of each command, for each number of rows."""
    measured: dict[str, list[float]] = {}
    for number in numbers:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_rows(folder / "rows.csv", number)
            for what in ("cold start", "warm start", "explore", "evaluation"):
                seconds, peak = run(folder, what)
                measured[f"{what}, {number:,} rows"] = [seconds]
                measured[f"{what}, {number:,} rows: peak GiB"] = [peak]
    return measured


def write_rows(path: Path, number: int) -> None:
    """Rows of 4 to 20 words drawn from 20,000, and one of two labels."""
    import numpy as np

    draws = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for row, length in enumerate(draws.integers(4, 21, size=number)):
            text = " ".join(f"w{word}" for word in draws.integers(20_000, size=length))
            writer.writerow((text, "yn"[row % 2]))


def run(folder: Path, what: str) -> tuple[float, float]:
    """Seconds, of a start until its first step, and GiB at most in memory."""
    arguments = ["train", *OVERRIDES]
    if what == "explore":
        arguments = ["explore", *OVERRIDES]
    elif what == "evaluation":
        arguments = ["evaluate", str(newest_run(folder)), "--split", "train"]
    began = time.time()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runwright", *arguments],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "RUNWRIGHT_CACHE": str(folder / "cache")},
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{what}: exit {process.returncode}\n{(folder / 'log.txt').read_text()[-2000:]}")
    ended = time.time()
    if what.endswith("start"):
        ended = first_step(newest_run(folder))
    return ended - began, usage.ru_maxrss / 2**20


def newest_run(folder: Path) -> Path:
    """The last run of the folder."""
    return max((folder / "outputs" / "scale").iterdir())
