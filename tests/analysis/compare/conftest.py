"""Finished runs with predictions, as the tasks write them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runwright.runs.folder import create, update_status
from runwright.tracker.journal import Journal

MakeRun = Callable[..., Path]
LABELS = ("bad", "good", "odd")
METRICS = {
    "accuracy": {"_target_": "runwright.metric.classification.accuracy"},
    "f1_macro": {
        "_target_": "runwright.metric.classification.class_score",
        "score": "f1",
        "average": "macro",
    },
}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run whose model is right with some probability, on the same rows for every seed of the data."""
    os.chdir(tmp_path)

    def make(
        name: str = "demo",
        *,
        skill: float = 0.7,
        seed: int = 0,
        rows: int = 400,
        data: int = 0,
        figures: dict[str, float] | None = None,
        predictions: Sequence[dict[str, Any]] | None = None,
        metric: dict[str, Any] | None = None,
        **config: Any,
    ) -> Path:
        settings = {
            "name": name,
            "output_dir": str(tmp_path / "outputs"),
            "seed": seed,
            "seeds": {"data": 0, "init": seed, "dropout": seed},
            "metric": METRICS if metric is None else metric,
            "trainer": {"best_metric": "accuracy", "best_mode": "max"},
            **config,
        }
        folder = create(settings, overrides=[f"seed={seed}"], command=[])
        found = list(predictions) if predictions is not None else guesses(skill, seed, rows, data)
        (folder / "predictions").mkdir()
        text = "".join(json.dumps(record) + "\n" for record in found)
        (folder / "predictions" / "test.jsonl").write_text(text)
        (folder / "task.json").write_text(json.dumps({"label_names": LABELS}))
        if figures is None:
            right = [record["predicted"] == record["expected"] for record in found]
            losses = [record["loss"] for record in found]
            figures = {"test/accuracy": float(np.mean(right)), "test/loss": float(np.mean(losses))}
        summary = {"global_step": 9, "metrics": figures}
        (folder / "summary.json").write_text(json.dumps(summary))
        journal = Journal(folder / "journal.jsonl")
        for step in range(1, 10):
            journal.metrics({"train/loss": 1 / step, "validation/f1": step / 20}, step=step)
        journal.close()
        update_status(folder, "FINISHED", end_time=0.0)
        return folder

    return make


def guesses(skill: float, seed: int, rows: int, data: int) -> list[dict[str, Any]]:
    truth = np.random.default_rng(1000 + data).integers(3, size=rows)
    chance = np.random.default_rng(seed)
    found = []
    for row, label in enumerate(truth):
        right = chance.random() < skill
        predicted = label if right else (label + chance.integers(1, 3)) % 3
        loss = float(chance.gamma(1.0) * (0.4 if right else 2.0))
        record = {"row_id": row, "text": f"text {row} of {data}", "expected": LABELS[label]}
        found.append({**record, "predicted": LABELS[predicted], "score": 0.5, "loss": loss})
    return found
