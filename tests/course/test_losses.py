"""The loss beside each row, as one computes it by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import runwright


@pytest.mark.slow
def test_the_loss_of_a_row_is_minus_the_log_of_the_probability_of_its_label(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    file, labels = tmp_path / "emotion.csv", ("joy", "sadness", "anger", "fear", "love", "surprise")
    rows = [f"the film was {'good ' * (n % 5 + 1)}on day {n},{labels[n % 6]}" for n in range(72)]
    file.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    data = ["dataset=csv", f"dataset.source.files.train={file}", "tracker=console"]
    model = [f"model.name={model_folder('distilbert')}", "trainer.batch_size=16", "trainer.max_epochs=1"]
    result = runwright.run([*data, *model, f"output_dir={tmp_path / 'outputs'}", "trainer.num_threads=1"])
    lines = result.paths["predictions/validation"].read_text(encoding="utf-8").splitlines()
    judged = [json.loads(line) for line in lines]
    scored = runwright.predict(result.folder, [row["text"] for row in judged], all_scores=True).predictions
    assert len(judged) == 7
    for row, answer in zip(judged, scored, strict=True):
        assert math.exp(-row["loss"]) == pytest.approx(answer["scores"][row["expected"]], abs=2e-6)
